import t from 'tap';
import { check } from '../src/checks.ts';
import type { Evidence } from '../src/evidence.ts';
import { passes } from '../src/report.ts';
import { delivery, end, followed, GOOD, offer, run } from './evidence.ts';

/** The names of the checks that do not pass, shortened to what the test says of them. */
const failing = (evidence: Evidence): string[] =>
  check(evidence)
    .filter((one) => !passes(one))
    .map((one) => one.name);

/** Spoils one thing: `names` are those of the checks that see it, or their beginnings. */
function sees(what: string, spoilt: Partial<Evidence>, ...names: string[]): void {
  t.test(what, async (t) => {
    const found = failing({ ...GOOD, ...spoilt });
    t.equal(found.length, names.length, found.join(', '));
    for (const name of names)
      t.ok(
        found.some((one) => one.startsWith(name)),
        name,
      );
  });
}

t.test('a run in which all went well passes', async (t) => t.same(failing(GOOD), []));

const offers = (...more: Evidence['offers']): Partial<Evidence> => ({
  offers: [...GOOD.offers, ...more],
});
const runs = (...more: Evidence['runs']): Partial<Evidence> => ({ runs: [...GOOD.runs, ...more] });

const ANSWERED = 'whoever waits for an answer gets one';
sees('no answer', offers(offer('z', {}, { fate: { kind: 'silent' } })), ANSWERED);
sees('a connection closed instead', offers(offer('z', {}, { fate: { kind: 'closed' } })), ANSWERED);

const FITS = 'each answer is one that the work may have';
const failed = (code: string) => ({ status: 500, code, attempts: 1, op: undefined });
sees('an internal error', offers(offer('z', failed('internal_error'))), FITS);
sees('an error of a handler that throws none', offers(offer('z', failed('function_error'))), FITS);
sees('an answer that is no problem document', offers(offer('z', failed('undefined'))), FITS);

const TRUE = "each result is its caller's own";
sees("another's result", { offers: [offer('a', { op: 'b' }), ...GOOD.offers.slice(1)] }, TRUE);
sees('a result that nothing made', offers(offer('z', {})), TRUE);
sees(
  'a result of an attempt that threw',
  { ...offers(offer('z', {})), ...runs(run('z', 1, { outcome: 'threw' })) },
  TRUE,
);
sees(
  'a result of another attempt',
  { ...offers(offer('z', { attempts: 2 })), ...runs(run('z', 1)) },
  TRUE,
);
sees(
  'a body that is not what was asked for',
  { ...offers(offer('z', { intact: false })), ...runs(run('z', 1)) },
  TRUE,
);
sees(
  'an answer cut short without a reason',
  { ...offers(offer('z', { complete: false })), ...runs(run('z', 1)) },
  TRUE,
);
t.test(
  'nor is one that was cut short because its pod was given up, or its time was over',
  async (t) => {
    const cut = (hadTime: boolean) => ({
      ...offers(offer('z', { complete: false }, { hadTime })),
      ...runs(run('z', 1, { pid: 300 })),
    });
    t.same(failing({ ...GOOD, ...cut(true), givenUp: [300] }), []);
    t.same(failing({ ...GOOD, ...cut(false) }), []);
  },
);
t.test('an answer that was cut short because its pod was shot is no fault', async (t) => {
  const spoilt = { ...offers(offer('z', { complete: false })), ...runs(run('z', 1, { pid: 200 })) };
  t.same(failing({ ...GOOD, ...spoilt }), []);
});

sees('bytes that nobody asked for', { unasked: ['b'] }, 'nothing is answered twice');

const refused = { status: 429, code: 'queue_full', attempts: undefined, op: undefined };
sees(
  'too many refusals',
  offers(...['u', 'v', 'w'].map((op) => offer(op, refused))),
  'at least 0.8 of what was offered is accepted',
);

sees(
  'an internal error of an execution',
  {
    followed: [
      ...GOOD.followed,
      followed('z', [end({ status: 'failed', code: 'internal_error' })]),
    ],
  },
  'what was accepted ends',
);
const ENDS = 'what was accepted ends';
const follow = (...more: Evidence['followed']): Partial<Evidence> => ({
  followed: [...GOOD.followed, ...more],
});
sees('an execution that never ended', follow(followed('z', [])), ENDS);
sees(
  'an execution that is not there',
  follow(followed('z', [end()], { odd: ['GET: execution_not_found'] })),
  ENDS,
);
sees(
  'an end that changed',
  follow(followed('c', [end(), end({ status: 'failed', code: 'timeout' })])),
  'what has ended stays as it ended',
);
sees(
  'a cancelled one that succeeded',
  follow(followed('c', [end()], { cancelled: true })),
  'what was cancelled is',
);

const COME = 'every callback that is due is taken';
sees(
  'a callback that never came',
  { ...follow(followed('z', [end()], { callback: 'takes' })) },
  COME,
);
sees(
  'a callback that nobody took, and no dead letter',
  { letters: GOOD.letters.slice(0, 1) },
  COME,
);
const TRUE_CALLBACK = 'every callback is signed';
const deliveries = (more: Partial<Evidence['deliveries'][0]>): Partial<Evidence> => ({
  deliveries: [...GOOD.deliveries, delivery('g', more)],
});
sees('a signature that does not hold', deliveries({ isSigned: false }), TRUE_CALLBACK);
sees("a callback in another's name", deliveries({ isNamed: false }), TRUE_CALLBACK);
sees('a callback of no end', deliveries({ end: undefined }), TRUE_CALLBACK);
sees('a callback of another end', deliveries({ end: end({ status: 'failed' }) }), TRUE_CALLBACK);
const LETTERS = 'what was given up, and only that, is a dead letter';
sees('a dead letter that is lost', { letters: GOOD.letters.slice(1) }, LETTERS);
sees(
  'a dead letter of what succeeded',
  { letters: [...GOOD.letters, { reason: 'execution', executionId: 'x-c' }] },
  LETTERS,
);

sees(
  'one that is cancelled although nobody asked for it',
  follow(followed('z', [end({ status: 'cancelled', code: 'cancelled' })])),
  'what was cancelled is',
);

const ONCE = 'each operation is one execution';
sees('an operation that two executions ran', runs(run('a', 1, { executionId: 'x-other' })), ONCE);
sees('an attempt that ran twice', runs(run('a', 1, { startedAt: 160, lastAt: 170 })), ONCE);

const WITHIN = 'attempts are at most retries + 1';
sees('an attempt too many', runs(run('f', 5, { outcome: 'aborted' })), WITHIN);
sees(
  'an attempt that the caller was not told of',
  runs(run('a', 2)),
  'no attempt ran that the caller was not told of',
);
sees(
  'an attempt beyond what the execution tells',
  runs(run('c', 2)),
  'no attempt ran that the caller was not told of',
);
sees(
  'a lost pod with retries left',
  offers(offer('z', { status: 502, code: 'pod_lost', attempts: 1, op: undefined })),
  'a lost pod is told of only once all retries are used up',
);
sees(
  'two attempts at once',
  {
    ...offers(offer('z', { attempts: 2 })),
    ...runs(run('z', 1, { outcome: 'threw', lastAt: 230 }), run('z', 2)),
  },
  'no two attempts of one execution ran at once',
);

t.test('two attempts at once are no fault where the pod of the first was shot then', async (t) => {
  const twice = (at: number, thawedAt: number): Partial<Evidence> => ({
    ...offers(offer('z', { attempts: 2 })),
    ...runs(
      run('z', 1, { pid: 300, startedAt: 5_000, lastAt: 5_230 }),
      run('z', 2, { startedAt: 5_200 }),
    ),
    shots: [
      ...GOOD.shots,
      { kind: 'freeze', pid: 300, at },
      { kind: 'thaw', pid: 300, at: thawedAt },
    ],
  });
  t.same(failing({ ...GOOD, ...twice(5_100, 5_220) }), []);
  t.match(failing({ ...GOOD, ...twice(1_000, 2_000) }), [/no two attempts/], 'long before');
  t.match(failing({ ...GOOD, ...twice(8_000, 9_000) }), [/no two attempts/], 'long after');
});

const SAME = 'whoever brings the same key gets the same result';
sees(
  'two results of one key',
  {
    ...offers(offer('k', { executionId: 'x-2', isReplay: true }, { keyed: 'same' })),
    ...runs(run('k', 1, { executionId: 'x-2', pid: 100 })),
  },
  SAME,
  ONCE,
);
sees('a replay that does not say so', offers(offer('k', {}, { keyed: 'same' })), SAME);
sees(
  "another request that got the key's result",
  offers(offer('k', { isReplay: true }, { keyed: 'other' })),
  'another request under a key is refused',
);

const LEFT = 'nothing is queued, runs, waits or is held';
const ADD_UP = 'accepted = queued + running + waiting + ended';
sees('one that still runs', { books: { ...GOOD.books, ended: 6, running: 1 } }, LEFT);
sees('bytes that are held', { books: { ...GOOD.books, heldBytes: 1 } }, LEFT);
sees('one that was counted twice', { books: { ...GOOD.books, ended: 8 } }, ADD_UP);
sees('a WarmPool that nobody used', { claims: 0 }, 'pods of the WarmPool');
sees('memory that stays', { memory: { before: 100, after: 151, peak: 200 } }, 'memory is back');
sees(
  'a process that is not listed',
  { processes: { running: [100, 102], listed: [100] } },
  'at rest no process',
);
const CLEANLY = 'on SIGTERM it ends with 0';
sees('a pod that outlives it', { survivors: [100] }, CLEANLY);
sees('a server that crashed', { exit: 'SIGSEGV' }, CLEANLY);
sees('an error in its log', { errors: ['{}'] }, 'its log holds no error');

t.test('a run that did nothing fails', async (t) => {
  const nothing = { ...GOOD, offers: [], followed: [], runs: [] };
  t.ok(failing(nothing).length >= 10);
});
