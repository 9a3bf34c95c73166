/** Asynchronous executions end, once and for good; their callbacks come, and what was given up is a dead letter. */
import { NEVER_TAKES } from '../plan.ts';
import { CODES, HAZARDS } from './codes.ts';
import { type Check, each, type Indexed } from './indexed.ts';

export function acceptedEnds({ all }: Indexed): Check {
  const name = 'what was accepted ends, in a way that its work may';
  return each(name, all.followed, ({ op, executionId, work, ends, odd }) => {
    if (odd.length > 0) return `${op} ${executionId}: ${odd.join(', ')}`;
    const code = ends[0]?.code;
    if (code === undefined) return `${op} ${executionId}: never seen ended`;
    const fits = code === 'cancelled' || HAZARDS.has(code) || CODES[work]?.includes(code);
    return !fits && code !== 'no_capacity' && `${op} ${executionId} (${work}): ${code}`;
  });
}

export function endsStay({ all }: Indexed): Check {
  const seen = all.followed.filter(({ ends }) => ends.length > 0);
  return each('what has ended stays as it ended', seen, ({ op, executionId, ends }) => {
    const different = new Set(ends.map((end) => JSON.stringify(end)));
    return different.size > 1 && `${op} ${executionId}: ${[...different].join(' then ')}`;
  });
}

export function cancelsStay({ all }: Indexed): Check {
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
export function callbacksCome({ all }: Indexed): Check {
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

export function callbacksAreTrue({ all }: Indexed): Check {
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
export function lettersAreKept({ all }: Indexed): Check {
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
