/**
 * Executions, synchronous and not, their retries, dead letters and replays: anything in any order. After every step each
 * execution's story is a possible one, the counters add up, and no dead letter is lost.
 */
import fc from 'fast-check';
import t from 'tap';
import type { ExecutionLetter } from '../../src/scheduler/dead-letters/letter.ts';
import type { Asking, Execution } from '../../src/scheduler/executions/execution.ts';
import { type ExecutionRecord, hasEnded } from '../../src/scheduler/executions/record.ts';
import type { FunctionState } from '../../src/scheduler/function-state.ts';
import type { Pod } from '../../src/scheduler/pod.ts';
import { ENDS, type EndStatus } from '../../src/shared/counters.ts';
import { type Call, Harness } from './harness.ts';

const MAX_QUEUE = 4;
const DEADLINE_MS = 4_000;
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const SPEC = {
  ...{ maxReplicas: 3, overflow: 1, graceMs: 100, deadlineMs: DEADLINE_MS },
  queue: { maxLength: MAX_QUEUE, maxBytes: 1_000 },
};
const EVERYTHING = {
  ...{ functionKey: '', mode: '', status: '', limit: 1_000, cursor: '' },
  mayRead: () => true,
} as const;

/** An asynchronous one that was accepted. */
interface Accepted {
  readonly record: ExecutionRecord;
  readonly maxRetries: number;
  /** How often whoever waits for it was told. */
  told: number;
  /** How it ended, once it has been seen. */
  end: string;
}

class World {
  readonly h = new Harness();
  /** Every function there was: one that is deleted goes on with what it has. */
  readonly functions: FunctionState[] = [];
  readonly accepted = new Map<string, Accepted>();
  readonly calls: Call[] = [];
  /** Ids of the dead letters that must be there. */
  readonly letters = new Set<string>();
  drained = false;
  private readonly concurrency: number;

  constructor(concurrency: number) {
    this.concurrency = concurrency;
    this.define();
  }

  define(): void {
    const fn = this.h.define('f', { ...SPEC, concurrency: this.concurrency });
    if (!this.functions.includes(fn)) this.functions.push(fn);
  }

  /** The one that is called; undefined while it is deleted. */
  get fn(): FunctionState | undefined {
    return this.h.core.functions.get('default/f');
  }

  get pods(): Pod[] {
    return this.functions.flatMap((fn) => [...fn.pods]);
  }

  async enqueue(timeoutMs: number, maxRetries: number): Promise<void> {
    const { h, fn } = this;
    const { executions, scheduler } = h.core;
    if (fn === undefined || scheduler.refusal(fn, 2, DEADLINE_MS) !== undefined) return;
    let accepted = '';
    let refused = 0;
    const asking: Asking = {
      accepted: (id) => {
        accepted = id;
      },
      fail: () => refused++,
    };
    const execution: Execution = executions.begin(
      ...([fn, h.executionIds.next(), TRACE, timeoutMs, maxRetries, asking] as const),
    );
    execution.invocation.body = Buffer.from('{}');
    scheduler.open(execution.invocation, 2);
    await executions.submit(execution);
    assert((accepted !== '') !== (refused === 1), 'E2: one answer');
    if (accepted !== '') await this.accept(accepted, maxRetries);
  }

  async accept(id: string, maxRetries: number): Promise<void> {
    const record = await this.h.core.executions.get(id);
    if (typeof record === 'string') throw new Error('accepted, and not kept');
    const one = { record, maxRetries, told: 0, end: '' };
    this.accepted.set(id, one);
    this.h.core.executions.wait(id, 1e9, () => {
      one.told++;
    });
  }

  async letter(pick: number): Promise<ExecutionLetter | undefined> {
    const id = one([...this.letters], pick);
    if (id === undefined) return undefined;
    const letter = await this.h.core.deadLetters.get(id);
    if (letter?.reason !== 'execution') throw new Error('a dead letter is lost');
    return letter;
  }
}

type Step = (w: World, pick: number) => void | Promise<void>;

const one = <T>(list: readonly T[], pick: number): T | undefined =>
  list[pick % Math.max(1, list.length)];

const steps: Record<string, Step> = {
  enqueue: (w, pick) => w.enqueue(40 + (pick % 400), pick % 4),
  enqueueOnce: (w) => w.enqueue(200, 0),
  call: (w, pick) => {
    if (w.fn !== undefined) {
      w.calls.push(w.h.call(w.fn, { budgetMs: 400, bytes: 10, maxRetries: pick % 3 }));
    }
  },
  luck: (w, pick) => {
    w.h.random = (pick % 1_000) / 1_000;
  },
  answer: (w, pick) => withRunning(w, pick, (pod, stream) => w.h.answer(pod, 'ok', stream)),
  fail: (w, pick) => withRunning(w, pick, (pod, stream) => w.h.answer(pod, 'error', stream)),
  badInput: (w, pick) =>
    withRunning(w, pick, (pod, stream) => w.h.answer(pod, 'bad_input', stream)),
  cancel: (w, pick) => {
    const ids = [...w.accepted.keys(), ...w.calls.map((c) => c.invocation.id)];
    w.h.core.executions.cancel(one(ids, pick) ?? 'none');
  },
  hangUp: (w, pick) => {
    const call = one(w.calls, pick);
    if (call !== undefined && call.refused === undefined) {
      w.h.core.scheduler.clientGone(call.invocation);
    }
  },
  pod: (w) => {
    if (w.fn !== undefined && w.fn.pods.size < 4) w.h.pod(w.fn);
  },
  reconnect: (w, pick) => {
    const pod = one(w.pods, pick);
    if (pod === undefined) return;
    w.h.hello(pod);
    w.h.core.pods.ready(pod);
  },
  loseSocket: (w, pick) => {
    const pod = one(w.pods, pick);
    if (pod?.link != null) w.h.core.pods.socketLost(pod, 'test');
  },
  exit: (w, pick) => {
    const pod = one(w.pods, pick);
    if (pod !== undefined) {
      w.h.core.onMessage({ type: 'pod-exited', podId: pod.id, reason: 'test' });
    }
  },
  replay: async (w, pick) => {
    const letter = await w.letter(pick);
    if (letter === undefined) return;
    const replayed = await w.h.core.deadLetters.replay(letter);
    if (!replayed.ok) return;
    w.letters.delete(letter.id);
    await w.accept(replayed.executionId, letter.request.maxRetries);
    assert(w.accepted.get(replayed.executionId)?.record.replayOf === letter.id, 'of another');
  },
  replayTwice: async (w, pick) => {
    const letter = await w.letter(pick);
    if (letter === undefined) return;
    const { deadLetters } = w.h.core;
    const both = await Promise.all([deadLetters.replay(letter), deadLetters.replay(letter)]);
    const [first, ...more] = both.filter((r) => r.ok);
    assert(more.length === 0, 'Z2: replayed twice');
    if (first === undefined || !first.ok) return;
    w.letters.delete(letter.id);
    await w.accept(first.executionId, letter.request.maxRetries);
  },
  replayAll: async (w) => {
    const ids = [...w.letters];
    const outcome = await w.h.core.deadLetters.replayAll('default/f');
    if ('ok' in outcome) {
      assert(!outcome.ok, 'refused, and yet well');
      return;
    }
    for (const id of outcome.replayed) {
      const record = await w.h.core.executions.get(id);
      if (typeof record === 'string') throw new Error('replayed, and not kept');
      assert(ids.includes(record.replayOf), 'of a letter that was not there');
      w.letters.delete(record.replayOf);
      await w.accept(id, 3);
    }
    assert(outcome.remaining === w.letters.size, 'what remains is miscounted');
  },
  deleteLetter: async (w, pick) => {
    const letter = await w.letter(pick);
    if (letter === undefined) return;
    await w.h.core.deadLetters.remove(letter.id);
    w.letters.delete(letter.id);
  },
  remove: (w, pick) => {
    // Rarely, or there is nothing to look at.
    if (pick % 3 !== 0) return;
    const block = w.fn?.counters;
    w.h.core.onMessage({ type: 'functions', upsert: [], remove: ['default/f'] });
    // As the control thread does before it gives a block to another function.
    block?.reset();
  },
  define: (w) => w.define(),
  define2: (w) => w.define(),
  wait: (w) => w.h.advance(7),
  waitLong: (w, pick) => w.h.advance(60 + (pick % 1_500)),
};

const ENDING: Record<string, Step> = {
  ...steps,
  drain: (w) => {
    w.h.core.scheduler.draining = true;
  },
  giveUp: (w) => {
    if (!w.h.core.scheduler.draining) return;
    for (const fn of w.h.core.functions.everyone()) w.h.core.scheduler.giveUp(fn);
    w.drained = true;
    assert(w.h.core.scheduler.live === 0, 'the shutdown overlooked one');
  },
};

function withRunning(w: World, pick: number, act: (pod: Pod, stream: number) => void): void {
  const running = w.pods.flatMap((pod) =>
    pod.running.values().map((i) => [pod, i.stream] as const),
  );
  const found = one(running, pick);
  if (found !== undefined) act(found[0], found[1]);
}

async function check(w: World): Promise<void> {
  const { h } = w;
  for (const [id, execution] of w.accepted) checkOne(w, id, execution);
  for (const call of w.calls) {
    if (call.refused !== undefined) continue;
    const record = await h.core.executions.get(call.invocation.id);
    // Of fifty that ended the harness keeps the record.
    if (typeof record === 'string') continue;
    assert(record.mode === 'sync', 'mode');
    assert(hasEnded(record) === (call.invocation.state === 'ended'), 'an end that was none');
    assert(record.attempts.length === call.invocation.attempts, 'an attempt is missing');
    checkAttempts(record);
  }
  checkCounters(w);
  const { letters } = await h.core.deadLetters.list({ ...EVERYTHING, shows: () => true });
  const there = new Set(letters.map((l) => l.id));
  assert(there.size === w.letters.size, `letters: ${there.size} of ${w.letters.size}`);
  for (const id of w.letters) assert(there.has(id), 'a dead letter is lost');
  for (const letter of letters) {
    if (letter.reason !== 'execution') throw new Error('reason');
    assert(Buffer.from(letter.request.body).toString() === '{}', 'its request is lost');
    assert(
      letter.attempts.every((a) => a.endedAt !== null),
      'an attempt that never ended',
    );
  }
}

function checkOne(w: World, id: string, execution: Accepted): void {
  const { record, maxRetries } = execution;
  assert(execution.told === (hasEnded(record) ? 1 : 0), 'E1: told once, at its end');
  assert(record.attempts.length <= maxRetries + 1, 'more attempts than retries');
  checkAttempts(record);
  if (!hasEnded(record)) {
    assert(record.request !== null && w.h.time <= record.deadlineAt + 50, 'past its deadline');
    return;
  }
  if (execution.end === '') {
    execution.end = record.status;
    if (record.status === 'dead_lettered') w.letters.add(id);
  }
  assert(record.status === execution.end, 'it ended twice');
  assert(record.request === null, 'it has ended and holds its request');
  assert((record.error === null) === (record.status === 'succeeded'), 'error');
  const cut = record.error?.code === 'draining';
  assert(!cut || (record.status === 'failed' && w.drained), 'cut off by no shutdown');
}

function checkAttempts({ attempts, deadlineAt, endedAt }: ExecutionRecord): void {
  attempts.forEach((attempt, i) => {
    const before = attempts[i - 1];
    assert(attempt.number === i + 1, 'attempts are miscounted');
    assert(attempt.startedAt < deadlineAt, 'an attempt past the deadline');
    assert(
      before === undefined || (before.endedAt !== null && before.endedAt <= attempt.startedAt),
      'two attempts at once',
    );
    assert(endedAt === null || attempt.endedAt !== null, 'an attempt outlives its execution');
    assert((attempt.endedAt === null) === (attempt.outcome === null), 'outcome');
  });
}

function checkCounters(w: World): void {
  const ends: Partial<Record<EndStatus, number>> = {};
  for (const { end } of w.accepted.values()) {
    if (end !== '') ends[end as EndStatus] = (ends[end as EndStatus] ?? 0) + 1;
  }
  let accepted = 0;
  let held = 0;
  for (const { counters, queue, waiting, pods, heldBytes } of w.functions) {
    const gauge = counters.gauge.bind(counters);
    const runs = [...pods].reduce((sum, pod) => sum + pod.running.size, 0);
    assert(gauge('queued') === queue.length && queue.length <= MAX_QUEUE, 'queue');
    assert(gauge('waiting') === waiting.length && gauge('running') === runs, 'gauges');
    assert(
      [...pods].every((pod) => pod.running.size <= pod.capacity),
      'slots',
    );
    assert(
      counters.counter('accepted') ===
        gauge('queued') + gauge('running') - gauge('lingering') + gauge('waiting') + counters.ended,
      'accepted = queued + running - lingering + waiting + ended',
    );
    accepted += counters.counter('accepted');
    held += heldBytes;
  }
  const taken = w.calls.filter((c) => c.refused === undefined && c.reply.told[0] !== 'queue_full');
  assert(accepted === w.accepted.size + taken.length, 'accepted');
  assert(held === w.h.core.scheduler.counters.totalHeldBytes, 'held bytes drift');
  // Dead letters are of asynchronous ones alone: theirs can be counted twice over.
  const dead = w.functions.reduce((n, f) => n + f.counters.counter(ENDS.dead_lettered), 0);
  assert(dead === (ends.dead_lettered ?? 0), 'dead letters are miscounted');
}

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

for (const [what, concurrency, possible, numRuns] of [
  ['concurrency 1', 1, steps, 400],
  ['concurrency 3', 3, steps, 300],
  ['a shutdown', 2, ENDING, 300],
] as const) {
  t.test(`with ${what} each execution ends once, and no dead letter is lost`, async () => {
    const step = fc.tuple(fc.constantFrom(...Object.keys(possible)), fc.nat(1_000));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (sequence) => {
        const w = new World(concurrency);
        for (const [name, pick] of sequence) {
          await possible[name]?.(w, pick);
          await settled();
          await check(w);
        }
        for (let i = 0; i < 6; i++) w.h.advance(1_500);
        await settled();
        await check(w);
        assert(w.h.core.scheduler.live === 0, 'one never ended');
        for (const { counters } of w.functions) {
          assert(counters.gauge('running') + counters.gauge('lingering') === 0, 'a slot leaked');
          assert(counters.counter('accepted') === counters.ended, 'accepted = ended');
        }
      }),
      { numRuns },
    );
  });
}

/** What a store promised has come. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await null;
}
