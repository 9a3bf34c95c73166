/** Every caller gets one answer, and a true one. */
import type { Told } from '../evidence.ts';
import { CODES, HAZARDS, REFUSALS } from './codes.ts';
import { type Check, each, type Indexed } from './indexed.ts';

/** Of what was offered, at least this share is to be accepted. */
const ACCEPTED_SHARE = 0.8;

const isRefused = ({ code }: Told): boolean => REFUSALS.has(code);

export function everyOneIsAnswered({ all }: Indexed): Check {
  return each(
    'whoever waits for an answer gets one',
    all.offers,
    ({ op, route, conduct, fate }) => {
      if (fate.kind === 'told' || fate.kind === 'gone') return undefined;
      return `${op} (${route}, ${conduct}): ${fate.kind === 'silent' ? 'no answer' : 'the connection was closed without one'}`;
    },
  );
}

export function answersFit({ answers }: Indexed): Check {
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
export function answersAreTrue(e: Indexed): Check {
  const { answers, runsOfOp } = e;
  const name = "each result is its caller's own, and the ledger knows its making";
  const results = answers.filter(({ told }) => told.status === 200);
  return each(name, results, ({ op, hadTime, told }) => {
    const runs = runsOfOp.get(op) ?? [];
    if (!told.intact) return `${op}: not what was asked for`;
    if (!told.complete) {
      const why = runs.some((run) => run.outcome !== 'ok' || e.wasLost(run));
      return !why && hadTime && `${op}: cut short although nothing befell its pod`;
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

export function nothingUnasked({ all }: Indexed): Check {
  const violations = all.unasked.map((op) => `before ${op} more came than was asked for`);
  return { name: 'nothing is answered twice', looked: all.offers.length, violations };
}

export function enoughIsAccepted({ answers }: Indexed): Check {
  const accepted = answers.filter(({ told }) => !isRefused(told)).length;
  const share = accepted / Math.max(1, answers.length);
  const name = `at least ${ACCEPTED_SHARE} of what was offered is accepted (${share.toFixed(3)})`;
  const violations = share < ACCEPTED_SHARE ? [`${accepted} of ${answers.length}`] : [];
  return { name, looked: answers.length, violations };
}
