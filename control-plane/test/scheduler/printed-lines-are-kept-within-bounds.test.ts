import type { Log } from '@simmer/protocol/frames';
import { LOG_LINE_BYTES } from '@simmer/protocol/limits';
import fc from 'fast-check';
import t from 'tap';
import { ExecutionLogs } from '../../src/scheduler/execution-logs.ts';
import type { Invocation } from '../../src/scheduler/invocation.ts';

const LIMITS = { attemptBytes: 200, maxBytes: 5_000, syncMaxBytes: 3_000 };

function invocation(number: number, sync: boolean, attempts = 1): Invocation {
  const fn = { key: 'default/f' };
  return { id: `boot-${number}`, attempts, observer: sync ? null : {}, fn } as Invocation;
}

const log = (text: string, cut?: boolean): Log => ({
  ...{ kind: 'log', stream: 1, level: 'info', text },
  ...(cut !== undefined && { cut }),
});

t.test('whatever pods send, no bound is passed and what is missing is told', async () => {
  const step = fc.record({
    number: fc.integer({ min: 1, max: 30 }),
    attempt: fc.integer({ min: 1, max: 3 }),
    text: fc.string({ maxLength: 250 }),
    cut: fc.option(fc.boolean()),
    forget: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.boolean(), (steps, sync) => {
      const logs = new ExecutionLogs(LIMITS, () => 0);
      const sent = new Map<string, string[]>();
      for (const { number, attempt, text, cut, forget } of steps) {
        const id = `boot-${number}`;
        if (forget && number % 5 === 0) {
          logs.forget(id);
          if (!sync) sent.delete(id);
          continue;
        }
        logs.add(invocation(number, sync, attempt), log(text, cut ?? undefined));
        sent.set(id, [...(sent.get(id) ?? []), ...(cut && text === '' ? [] : [text])]);
      }
      let bytes = 0;
      for (const [id, texts] of sent) {
        const kept = logs.get(id);
        const lines = kept?.lines ?? [];
        bytes += lines.reduce((sum, line) => sum + 2 * line.text.length, 0);
        const complete = lines.length === texts.length;
        if (!complete && !(kept?.truncated ?? logs.mayBeGone(id))) return false;
      }
      return bytes <= (sync ? LIMITS.syncMaxBytes : LIMITS.maxBytes);
    }),
    { numRuns: 1_000 },
  );
});

t.test('one attempt keeps what it may, and the next has as much again', async (t) => {
  const logs = new ExecutionLogs(LIMITS, () => 7);
  const text = 'x'.repeat(100 - LOG_LINE_BYTES);
  for (let i = 0; i < 3; i++) logs.add(invocation(1, false), log(text));
  t.match(logs.get('boot-1'), { truncated: true, lines: { length: 2 } });
  logs.add(invocation(1, false, 2), log(text));
  t.match(logs.get('boot-1')?.lines[2], { at: 7, attempt: 2, level: 'info', text });
});

t.test('synchronous ones take no room from those that are kept', async (t) => {
  const logs = new ExecutionLogs(LIMITS, () => 0);
  logs.add(invocation(1, false), log('kept'));
  for (let i = 2; i < 1_000; i++) logs.add(invocation(i, true), log('passing'));
  t.match(logs.get('boot-1')?.lines[0], { text: 'kept' });
  t.equal(logs.get('boot-2'), undefined);
  t.match(logs.get('boot-999')?.lines[0], { text: 'passing' });
  logs.forget('boot-1');
  t.equal(logs.get('boot-1'), undefined);
});

t.test('an attempt that says only that it was cut leaves no line', async (t) => {
  const logs = new ExecutionLogs(LIMITS, () => 0);
  for (let i = 1; i < 1_000; i++) logs.add(invocation(i, true), log('', true));
  t.same(logs.get('boot-999')?.lines, []);
  t.ok(logs.get('boot-999')?.truncated);
  t.equal(logs.get('boot-1'), undefined);
  t.ok(logs.mayBeGone('boot-1'));
});
