/** A small run in which all went well, to be spoilt in one place. */
import type { Delivery, Evidence, Followed, Offer, Told, View } from '../src/evidence.ts';
import type { Run } from '../src/ledger.ts';

export const offer = (op: string, told: Partial<Told>, more: Partial<Offer> = {}): Offer => ({
  ...{ op, function: 'quick', route: 'invoke', conduct: 'patient', maxRetries: 3, work: 'echo' },
  ...{ keyed: '', hadTime: true },
  fate: {
    kind: 'told',
    told: {
      ...{ status: 200, code: 'ok', executionId: `x-${op}`, attempts: 1, op, pid: 100 },
      ...{ complete: true, intact: true, isReplay: false, ...told },
    },
  },
  ...more,
});

export const run = (op: string, attempt: number, more: Partial<Run> = {}): Run => ({
  ...{ op, executionId: `x-${op}`, attempt, pid: 100, outcome: 'ok' },
  ...{ startedAt: attempt * 100, lastAt: attempt * 100 + 50, ...more },
});

export const end = (more: Partial<View> = {}): View => ({
  ...{ status: 'succeeded', attempts: 1, outcomes: ['ok'], endedAt: 'then', code: 'ok' },
  ...{ op: 'c', pid: 100, hadTime: true, ...more },
});

export const followed = (op: string, ends: View[], more: Partial<Followed> = {}): Followed => ({
  ...{ op, executionId: `x-${op}`, maxRetries: 3, cancelled: false, ends, odd: [] },
  ...{ work: 'echo', callback: '', replayOf: '', ...more },
});

const accepted = { status: 202, attempts: undefined, op: undefined, pid: undefined };

export const delivery = (op: string, more: Partial<Delivery>): Delivery => ({
  ...{ op, executionId: `x-${op}`, taken: true, end: end({ op }), isSigned: true, isNamed: true },
  ...more,
});

const DEAD = end({
  ...{ status: 'dead_lettered', code: 'function_error', outcomes: ['function_error'] },
  ...{ op: undefined, pid: undefined },
});

/**
 * `a`: a call. `b`: one that lost its pod (200, killed while it ran) and was run again. `c`: one enqueued. `d`: one
 * cancelled. `e`: one that lost a pod each time. `f`, whose client went. `k`: two calls with one key, and another.
 * `g`: its callback was taken in the end. `h`: nobody took the callback, and it failed, and succeeded when it was replayed.
 */
export const GOOD: Evidence = {
  offers: [
    offer('a', {}),
    offer('b', { attempts: 2 }),
    offer('c', accepted, { route: 'enqueue' }),
    offer('d', accepted, { route: 'enqueue' }),
    offer('e', { status: 502, code: 'pod_lost', attempts: 2, op: undefined }, { maxRetries: 1 }),
    offer('f', {}, { fate: { kind: 'gone' } }),
    offer('k', {}, { keyed: 'first' }),
    offer('k', { isReplay: true }, { keyed: 'same' }),
    offer('k', { status: 422, code: 'idempotency_key_reused', op: undefined }, { keyed: 'other' }),
  ],
  followed: [
    followed('c', [end(), end()]),
    followed('d', [end({ status: 'cancelled', outcomes: ['cancelled'], code: 'cancelled' })], {
      cancelled: true,
    }),
    followed('g', [end({ op: 'g' })], { callback: 'fails' }),
    followed('h', [DEAD], { callback: 'refuses', work: 'throw', maxRetries: 0 }),
    followed('h', [end({ op: 'h' })], { executionId: 'x-h2', replayOf: 'x-h', work: 'throw' }),
  ],
  runs: [
    run('a', 1),
    run('b', 1, { pid: 200, outcome: undefined, lastAt: 900 }),
    run('b', 2),
    run('c', 1),
    run('d', 1, { outcome: 'aborted' }),
    run('e', 1, { pid: 200, outcome: undefined }),
    run('e', 2, { pid: 200, outcome: undefined }),
    run('f', 1, { outcome: 'aborted' }),
    run('k', 1),
    run('g', 1),
    run('h', 1, { outcome: 'threw' }),
    run('h', 1, { executionId: 'x-h2', startedAt: 300, lastAt: 350 }),
  ],
  deliveries: [
    delivery('g', { taken: false }),
    delivery('g', {}),
    delivery('h', { taken: false, end: DEAD }),
  ],
  letters: [
    { reason: 'execution', executionId: 'x-h' },
    { reason: 'callback', executionId: 'x-h' },
  ],
  shots: [{ kind: 'kill', pid: 200, at: 150 }],
  givenUp: [],
  claims: 1,
  books: { accepted: 7, ended: 7, queued: 0, running: 0, waiting: 0, heldBytes: 0, callbacks: 0 },
  memory: { before: 100, after: 120, peak: 200 },
  unasked: [],
  processes: { running: [100], listed: [100, 101] },
  exit: 0,
  survivors: [],
  errors: [],
};
