/** What must hold after a run, judged by its evidence alone. Pure. */
import type { Evidence, Offer, Shot, Told } from './evidence.ts';
import type { Run } from './ledger.ts';
import { NEVER_TAKES } from './plan.ts';

export interface Check {
  /** What holds. */
  readonly name: string;
  /** What was looked at: a check that looked at nothing shows nothing. */
  readonly looked: number;
  /** Each a sentence; none: it holds. */
  readonly violations: readonly string[];
}

/** Of what was offered, at least this share is to be accepted. */
export const ACCEPTED_SHARE = 0.8;
/** Memory after the run, of what it was before. */
export const MEMORY_RATIO = 1.5;
/** Between a shot and its note, or what it stops: a busy machine. */
const SHOT_MS = 1_000;
/** Two processes' looks at one clock, and the time between a look and the write. */
const CLOCK_SLACK_MS = 1;

/** Answers that say: not taken on, come again. */
const REFUSALS: ReadonlySet<string> = new Set([
  'queue_full',
  'overloaded',
  'deadline_unreachable',
  'executions_full',
  'no_capacity',
  'draining',
]);
/** What may become of a call while pods are shot. */
const HAZARDS: ReadonlySet<string> = new Set(['pod_lost', 'timeout', 'function_exited']);
/** What each work may be answered, beside refusals and hazards. */
const CODES: Readonly<Record<string, readonly string[]>> = {
  echo: ['ok'],
  sleep: ['ok', 'function_error'], // aborted, it throws
  spin: ['ok'],
  throw: ['ok', 'function_error'],
  exit: ['ok', 'function_exited'],
  bad: ['bad_input'],
};

export function check(evidence: Evidence): Check[] {
  const e = new Indexed(evidence);
  return [
    everyOneIsAnswered(e),
    answersFit(e),
    answersAreTrue(e),
    nothingUnasked(e),
    enoughIsAccepted(e),
    acceptedEnds(e),
    endsStay(e),
    cancelsStay(e),
    callbacksCome(e),
    callbacksAreTrue(e),
    lettersAreKept(e),
    ranOnce(e),
    attemptsWithinRetries(e),
    nothingBeyondTheAnswer(e),
    lostIsMadeGood(e),
    keysGiveOneAnswer(e),
    keysAreOfOneRequest(e),
    neverTwoAtOnce(e),
    nothingIsLeft(e),
    booksAddUp(e),
    memoryIsBack(e),
    processesAreKnown(e),
    endsCleanly(e),
    noErrors(e),
  ];
}

/** The evidence, with what several checks look up. */
class Indexed {
  readonly all: Evidence;
  readonly runsOfExecution: ReadonlyMap<string, Run[]>;
  readonly runsOfOp: ReadonlyMap<string, Run[]>;
  /** Offers that were answered, with the answer. */
  readonly answers: readonly (Offer & { readonly told: Told })[];
  /** What was done to each pod, in order. */
  private readonly shots: ReadonlyMap<number, Shot[]>;

  constructor(all: Evidence) {
    this.all = all;
    this.runsOfExecution = grouped(all.runs, (run) => run.executionId);
    this.runsOfOp = grouped(all.runs, (run) => run.op);
    this.answers = all.offers.flatMap((offer) =>
      offer.fate.kind === 'told' ? [{ ...offer, told: offer.fate.told }] : [],
    );
    this.shots = grouped(all.shots, (shot) => shot.pid);
  }

  /** Its pod was killed or frozen while it ran, or shortly before: then it may have waited in its socket. */
  wasShot(run: Run): boolean {
    return this.wasShotBefore(run, run.lastAt + SHOT_MS);
  }

  /** The same, or later than it was heard of, until then: what it had to say may be lost. */
  wasShotBefore({ pid, startedAt }: Run, end: number): boolean {
    const shots = this.shots.get(pid) ?? [];
    return shots.some(({ kind, at }, i) => {
      const until = kind === 'freeze' ? (shots[i + 1]?.at ?? Number.POSITIVE_INFINITY) : at;
      return at <= end && until >= startedAt - SHOT_MS;
    });
  }
}

function grouped<T, K>(all: readonly T[], keyOf: (one: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

/** A check of each of these: `fault` says what is wrong with one. */
function each<T>(
  name: string,
  all: readonly T[],
  fault: (one: T) => string | undefined | false,
): Check {
  const violations = all.map(fault).filter((text) => typeof text === 'string');
  return { name, looked: all.length, violations };
}

const isRefused = ({ code }: Told): boolean => REFUSALS.has(code);
const isAccepted = (told: Told): boolean => !isRefused(told);

// ---- what callers saw ------------------------------------------------------------------------------------------------

function everyOneIsAnswered({ all }: Indexed): Check {
  return each(
    'whoever waits for an answer gets one',
    all.offers,
    ({ op, route, conduct, fate }) => {
      if (fate.kind === 'told' || fate.kind === 'gone') return undefined;
      return `${op} (${route}, ${conduct}): ${fate.kind === 'silent' ? 'no answer' : 'the connection was closed without one'}`;
    },
  );
}

function answersFit({ answers }: Indexed): Check {
  const name = 'each answer is one that the work may have';
  return each(name, answers, ({ op, route, work, keyed, told }) => {
    const { code, status } = told;
    if (route === 'enqueue' && status === 202) return undefined;
    if (keyed === 'other' && code === 'idempotency_key_reused') return undefined;
    // Streams, and raw answers that are large.
    const isRaw = route === 'stream' || route === 'raw';
    if (keyed !== '' && isRaw && code === 'idempotent_result_unavailable') return undefined;
    // The first was accepted, and ended since.
    if (route === 'enqueue' && keyed !== '' && code === 'execution_evicted') return undefined;
    const fits = isRefused(told) || HAZARDS.has(code) || CODES[work]?.includes(code);
    return !fits && `${op} (${route}, ${work}): ${status} ${code}`;
  });
}

/** A success is the caller's own, whole, and was made by an attempt that the ledger knows to have ended well. */
function answersAreTrue(e: Indexed): Check {
  const { answers, runsOfOp } = e;
  const name = "each result is its caller's own, and the ledger knows its making";
  const results = answers.filter(({ told }) => told.status === 200);
  return each(name, results, ({ op, told }) => {
    const runs = runsOfOp.get(op) ?? [];
    if (!told.intact) return `${op}: not what was asked for`;
    if (!told.complete) {
      const why = runs.some(
        (run) => run.outcome !== 'ok' || e.wasShotBefore(run, Number.POSITIVE_INFINITY),
      );
      return !why && `${op}: cut short although nothing befell its pod`;
    }
    if (told.op !== op) return `${op}: the result of ${told.op}`;
    const made = runs.some(
      (run) =>
        run.outcome === 'ok' &&
        run.executionId === told.executionId &&
        run.attempt === told.attempts &&
        (told.pid === undefined || run.pid === told.pid),
    );
    return !made && `${op}: ${told.executionId} attempt ${told.attempts} is not in the ledger`;
  });
}

function nothingUnasked({ all }: Indexed): Check {
  const violations = all.unasked.map((op) => `before ${op} more came than was asked for`);
  return { name: 'nothing is answered twice', looked: all.offers.length, violations };
}

function enoughIsAccepted({ answers }: Indexed): Check {
  const accepted = answers.filter(({ told }) => isAccepted(told)).length;
  const share = accepted / Math.max(1, answers.length);
  const name = `at least ${ACCEPTED_SHARE} of what was offered is accepted (${share.toFixed(3)})`;
  const violations = share < ACCEPTED_SHARE ? [`${accepted} of ${answers.length}`] : [];
  return { name, looked: answers.length, violations };
}

// ---- asynchronous executions -----------------------------------------------------------------------------------------

function acceptedEnds({ all }: Indexed): Check {
  const name = 'what was accepted ends, in a way that its work may';
  return each(name, all.followed, ({ op, executionId, work, ends, odd }) => {
    if (odd.length > 0) return `${op} ${executionId}: ${odd.join(', ')}`;
    const code = ends[0]?.code;
    if (code === undefined) return `${op} ${executionId}: never seen ended`;
    const fits = code === 'cancelled' || HAZARDS.has(code) || CODES[work]?.includes(code);
    return !fits && code !== 'no_capacity' && `${op} ${executionId} (${work}): ${code}`;
  });
}

function endsStay({ all }: Indexed): Check {
  const seen = all.followed.filter(({ ends }) => ends.length > 0);
  return each('what has ended stays as it ended', seen, ({ op, executionId, ends }) => {
    const different = new Set(ends.map((end) => JSON.stringify(end)));
    return different.size > 1 && `${op} ${executionId}: ${[...different].join(' then ')}`;
  });
}

function cancelsStay({ all }: Indexed): Check {
  return each(
    'what was cancelled is, and nothing else',
    all.followed,
    ({ op, executionId, cancelled, ends }) => {
      const other = ends.find(({ status }) => (status === 'cancelled') !== cancelled);
      return other !== undefined && `${op} ${executionId}: ${other.status}`;
    },
  );
}

/** At least once, to whoever takes them; a dead letter where nobody does. */
function callbacksCome({ all }: Indexed): Check {
  const due = all.followed.filter(({ callback, ends }) => callback !== '' && ends.length > 0);
  const taken = new Set(all.deliveries.filter((one) => one.taken).map((one) => one.executionId));
  const dead = new Set(
    all.letters.filter((one) => one.reason === 'callback').map((one) => one.executionId),
  );
  const name = 'every callback that is due is taken, or a dead letter where nobody takes it';
  return each(name, due, ({ op, executionId, callback }) => {
    if (callback === '' || !NEVER_TAKES.has(callback)) {
      const fate = dead.has(executionId) ? 'a dead letter' : 'never came';
      return !taken.has(executionId) && `${op} ${executionId} (${callback}): ${fate}`;
    }
    return !dead.has(executionId) && `${op} ${executionId} (${callback}): no dead letter`;
  });
}

function callbacksAreTrue({ all }: Indexed): Check {
  const ends = new Map(all.followed.map(({ executionId, ends: [end] }) => [executionId, end]));
  const name = 'every callback is signed and tells the end that was seen';
  return each(name, all.deliveries, ({ op, executionId, end, isSigned, isNamed }) => {
    if (!isSigned) return `${op} ${executionId}: its signature does not hold`;
    if (!isNamed) return `${op} ${executionId}: it names another`;
    if (end === undefined) return `${op} ${executionId}: it tells of no end`;
    const seen = ends.get(executionId);
    const differs = seen !== undefined && JSON.stringify(seen) !== JSON.stringify(end);
    return differs && `${op} ${executionId}: it tells ${end.status}, seen was ${seen.status}`;
  });
}

/** What was given up has a letter, and what has one was given up. */
function lettersAreKept({ all }: Indexed): Check {
  const kept = new Set(
    all.letters.filter((one) => one.reason === 'execution').map((one) => one.executionId),
  );
  const seen = all.followed.filter(({ ends }) => ends.length > 0);
  const name = 'what was given up, and only that, is a dead letter';
  return each(name, seen, ({ op, executionId, ends }) => {
    const isDead = ends[0]?.status === 'dead_lettered';
    if (isDead === kept.has(executionId)) return undefined;
    return `${op} ${executionId}: ${ends[0]?.status}, and ${isDead ? 'no letter' : 'a letter'}`;
  });
}

// ---- what ran --------------------------------------------------------------------------------------------------------

function ranOnce({ all, runsOfOp }: Indexed): Check {
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

function attemptsWithinRetries({ all, runsOfOp }: Indexed): Check {
  return each('attempts are at most retries + 1', all.offers, ({ op, maxRetries }) => {
    const runs = runsOfOp.get(op) ?? [];
    const beyond = [...grouped(runs, (run) => run.executionId).values()].some(
      (of) => of.length > maxRetries + 1 || of.some((run) => run.attempt > maxRetries + 1),
    );
    return beyond && `${op}: ${numbers(runs)} with ${maxRetries} retries`;
  });
}

/** No attempt ran that the answer does not count: nothing goes on behind it. */
function nothingBeyondTheAnswer({ all, answers, runsOfExecution }: Indexed): Check {
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
function lostIsMadeGood({ all, answers }: Indexed): Check {
  const told = [
    ...answers.flatMap(({ op, maxRetries, hadTime, route, told }) =>
      route === 'stream' ? [] : [{ ...told, op, maxRetries, hadTime }],
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
function keysGiveOneAnswer({ answers }: Indexed): Check {
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

/** Once an attempt was made for a key, another request under it is refused. */
function keysAreOfOneRequest({ answers }: Indexed): Check {
  const ran = new Set(
    answers
      .filter(({ keyed, told }) => keyed === 'first' && (told.status === 202 || told.attempts))
      .map(({ op }) => op),
  );
  const others = answers.filter(({ op, keyed }) => keyed === 'other' && ran.has(op));
  return each('another request under a key is refused', others, ({ op, told }) => {
    return told.code !== 'idempotency_key_reused' && `${op}: ${told.status} ${told.code}`;
  });
}

function neverTwoAtOnce(e: Indexed): Check {
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

// ---- what is left ----------------------------------------------------------------------------------------------------

function nothingIsLeft({ all }: Indexed): Check {
  const { accepted, ended, ...left } = all.books;
  return each(
    'nothing is queued, runs, waits or is held',
    Object.entries(left),
    ([what, value]) => {
      return value !== 0 && `${what}: ${value}`;
    },
  );
}

function booksAddUp({ all }: Indexed): Check {
  const { accepted, ended, queued, running, waiting } = all.books;
  const sum = queued + running + waiting + ended;
  return {
    name: 'accepted = queued + running + waiting + ended',
    looked: accepted,
    violations:
      accepted === sum ? [] : [`${accepted} = ${queued} + ${running} + ${waiting} + ${ended}`],
  };
}

function memoryIsBack({ all }: Indexed): Check {
  const { before, after, peak } = all.memory;
  const ratio = after / before;
  const mib = (bytes: number) => `${Math.round(bytes / 1_048_576)} MiB`;
  return {
    name: `memory is back at its level, within ${MEMORY_RATIO} of it (${ratio.toFixed(2)})`,
    looked: before,
    violations:
      ratio <= MEMORY_RATIO
        ? []
        : [`${mib(before)} before, ${mib(after)} after, ${mib(peak)} at most`],
  };
}

function processesAreKnown({ all }: Indexed): Check {
  const listed = new Set(all.processes.listed);
  return each(
    'at rest no process runs but the pods that it lists',
    all.processes.running,
    (pid) => {
      return !listed.has(pid) && `process ${pid}`;
    },
  );
}

function endsCleanly({ all }: Indexed): Check {
  const violations = all.survivors.map((pid) => `pod ${pid} outlives it`);
  if (all.exit !== 0) violations.push(`it ended with ${all.exit}`);
  return { name: 'on SIGTERM it ends with 0, and its pods with it', looked: 1, violations };
}

function noErrors({ all }: Indexed): Check {
  return { name: 'its log holds no error', looked: 1, violations: all.errors };
}
