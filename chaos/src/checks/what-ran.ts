/** What ran, by the ledger: as often as it may, never beside itself, and nothing that nobody was told of. */
import type { Run } from '../ledger.ts';
import { type Check, each, grouped, type Indexed } from './indexed.ts';

/** Two processes' looks at one clock, and the time between a look and the write. */
const CLOCK_SLACK_MS = 1;

export function ranOnce({ all, runsOfOp }: Indexed): Check {
  const name = 'each operation is one execution, each attempt of it ran once';
  const replays = new Set(
    all.followed.filter((one) => one.replayOf !== '').map((one) => one.executionId),
  );
  return each(name, [...runsOfOp], ([op, runs]) => {
    const executions = new Set(runs.map((run) => run.executionId));
    const own = [...executions].filter((id) => !replays.has(id));
    if (own.length > 1) return `${op} ran as ${own.join(' and ')}`;
    const attempts = new Set(runs.map((run) => `${run.executionId}/${run.attempt}`));
    return attempts.size < runs.length && `${op}: an attempt ran twice: ${numbers(runs)}`;
  });
}

const numbers = (runs: readonly Run[]): string => runs.map((run) => run.attempt).join(', ');

export function attemptsWithinRetries({ all, runsOfOp }: Indexed): Check {
  return each('attempts are at most retries + 1', all.offers, ({ op, maxRetries }) => {
    const runs = runsOfOp.get(op) ?? [];
    const beyond = [...grouped(runs, (run) => run.executionId).values()].some(
      (of) => of.length > maxRetries + 1 || of.some((run) => run.attempt > maxRetries + 1),
    );
    return beyond && `${op}: ${numbers(runs)} with ${maxRetries} retries`;
  });
}

/** No attempt ran that the answer does not count: nothing goes on behind it. */
export function nothingBeyondTheAnswer({ all, answers, runsOfExecution }: Indexed): Check {
  const told = [
    ...answers.map(({ keyed, told: { executionId, attempts = 0, status, code, complete } }) => {
      // The execution of a key goes on when one that waits for it has no more time.
      const goesOn =
        keyed !== '' && (code === 'timeout' || code === 'idempotent_result_unavailable');
      return { executionId, attempts, counts: status !== 202 && complete && !goesOn };
    }),
    ...all.followed.flatMap(({ executionId, ends }) =>
      ends.map(({ attempts }) => ({ executionId, attempts, counts: true })),
    ),
  ].filter(({ counts }) => counts);
  return each(
    'no attempt ran that the caller was not told of',
    told,
    ({ executionId, attempts }) => {
      const runs = runsOfExecution.get(executionId) ?? [];
      const beyond = runs.some((run) => run.attempt > attempts);
      return beyond && `${executionId}: told of ${attempts}, ran ${numbers(runs)}`;
    },
  );
}

/** A caller is told of a lost pod only where no retry was left, no time for one, or its response had begun. */
export function lostIsMadeGood({ all, answers }: Indexed): Check {
  // Of a raw one nobody but Simmer knows whether it had begun; a replay comes at any time.
  const told = [
    ...answers.flatMap(({ op, maxRetries, hadTime, route, told }) =>
      route === 'stream' || route === 'raw' || told.isReplay
        ? []
        : [{ ...told, op, maxRetries, hadTime }],
    ),
    ...all.followed.flatMap(({ op, maxRetries, ends }) =>
      ends.map((end) => ({ ...end, op, maxRetries })),
    ),
  ];
  const name = 'a lost pod is told of only once all retries are used up';
  return each(name, told, ({ op, code, hadTime, maxRetries, attempts }) => {
    const early = code === 'pod_lost' && hadTime && attempts !== maxRetries + 1;
    return early && `${op}: after ${attempts} of ${maxRetries + 1}`;
  });
}

/** All who come with one key are told the same result, and all but one that it is a replay. */
export function keysGiveOneAnswer({ answers }: Indexed): Check {
  const results = answers.filter(
    ({ keyed, told }) => keyed !== '' && (told.status === 200 || told.status === 202),
  );
  const several = [...grouped(results, ({ op }) => op)].filter(([, of]) => of.length > 1);
  return each('whoever brings the same key gets the same result', several, ([op, of]) => {
    const different = new Set(
      of.map(({ told }) => `${told.executionId} attempt ${told.attempts} of pod ${told.pid}`),
    );
    if (different.size > 1) return `${op}: ${[...different].join(', ')}`;
    const own = of.filter(({ told }) => !told.isReplay).length;
    return own > 1 && `${op}: ${own} answers that are no replay`;
  });
}

/** Once an attempt was made for a key, another request under it is refused; save one whose own time ended while its body came. */
export function keysAreOfOneRequest({ answers }: Indexed): Check {
  const ran = new Set(
    answers
      .filter(({ keyed, told }) => keyed === 'first' && (told.status === 202 || told.attempts))
      .map(({ op }) => op),
  );
  const others = answers.filter(({ op, keyed }) => keyed === 'other' && ran.has(op));
  return each('another request under a key is refused', others, ({ op, hadTime, told }) => {
    if (told.code === 'idempotency_key_reused' || (told.code === 'timeout' && !hadTime))
      return false;
    return `${op}: ${told.status} ${told.code}`;
  });
}

export function neverTwoAtOnce(e: Indexed): Check {
  const several = [...e.runsOfExecution.values()].filter((runs) => runs.length > 1);
  const name = 'no two attempts of one execution ran at once, save where the first pod was shot';
  return each(name, several, (runs) => {
    const inOrder = [...runs].sort((a, b) => a.attempt - b.attempt);
    const over = inOrder.findIndex((run, i) => {
      const next = inOrder[i + 1];
      if (next === undefined || e.wasShot(run)) return false;
      return next.startedAt < run.lastAt - CLOCK_SLACK_MS;
    });
    const [one, next] = [inOrder[over], inOrder[over + 1]];
    if (one === undefined || next === undefined) return undefined;
    const ms = (one.lastAt - next.startedAt).toFixed(1);
    return `${one.op} ${one.executionId}: attempt ${one.attempt} (pod ${one.pid}) still ran for ${ms} ms beside attempt ${next.attempt}`;
  });
}

/** So that what is checked is checked of claimed pods, too. */
export function podsWereClaimed({ all }: Indexed): Check {
  return {
    name: `pods of the WarmPool became functions' (${all.claims} attempts)`,
    looked: 1,
    violations: all.claims > 0 ? [] : ['none did'],
  };
}
