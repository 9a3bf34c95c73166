import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`;

const simmer = await Simmer.start(t, [{ name: 'actor', spec: { minReplicas: 1 } }]);

t.test('traceparent: the same trace in ctx, on the log line and in the answer', async (t) => {
  const answer = await simmer.invoke(
    'actor',
    { log: 'the handler was here' },
    { headers: { traceparent: TRACEPARENT } },
  );
  const executionId = answer.headers['x-execution-id'];
  t.equal(answer.status, 200);
  t.equal(answer.headers['x-trace-id'], TRACE);
  t.match(answer.json, { executionId, output: { traceId: TRACE, executionId } });
  const line = await eventually('the line is logged', () =>
    simmer.logs().find((l) => l.message === 'the handler was here'),
  );
  t.match(line, { level: 'info', function: 'default/actor', executionId, traceId: TRACE });
});

t.test(
  'X-Trace-Id alone is taken up; without either, or with a bad one, there is a new one',
  async (t) => {
    const given = await simmer.invoke('actor', {}, { headers: { 'x-trace-id': TRACE } });
    t.equal(given.headers['x-trace-id'], TRACE);
    t.equal(given.json.output.traceId, TRACE);
    const bad = [
      {},
      { traceparent: 'nonsense' },
      { traceparent: `00-${'0'.repeat(32)}-b7ad6b7169203331-01` },
      { traceparent: `ff-${TRACE}-b7ad6b7169203331-01` },
      { 'x-trace-id': 'nonsense' },
    ];
    const seen = new Set([TRACE]);
    for (const headers of bad) {
      const { headers: answered, json } = await simmer.invoke('actor', {}, { headers });
      const id = answered['x-trace-id'] as string;
      t.match(id, /^[0-9a-f]{32}$/);
      t.equal(json.output.traceId, id);
      t.notOk(seen.has(id));
      seen.add(id);
    }
  },
);

t.test(
  'a failed invocation makes exactly one line, with its execution and its trace',
  async (t) => {
    const headers = { traceparent: TRACEPARENT };
    const failed = [
      await simmer.invoke('actor', { error: 'on purpose' }, { headers }),
      await simmer.invoke(
        'actor',
        { wait: simmer.gate() },
        { headers: { ...headers, 'x-timeout-ms': '50' } },
      ),
      await simmer.request('/v1/functions/actor:invoke', { body: 'no json', headers }),
    ];
    const good = await simmer.invoke('actor', {}, { headers });
    // Lines come in the order of the failures: behind this last one there is none of the others.
    const last = await simmer.invoke('actor', { error: 'last' });
    const of = (id: unknown) =>
      simmer.logs().filter((l) => l.message === 'invocation failed' && l['executionId'] === id);
    await eventually('the last is logged', () => of(last.json.executionId).length > 0);
    for (const answer of failed) {
      const executionId = answer.headers['x-execution-id'];
      t.equal(answer.headers['x-trace-id'], TRACE);
      t.equal(answer.json.executionId, executionId);
      const lines = of(executionId);
      t.equal(lines.length, 1);
      t.match(lines[0], {
        traceId: TRACE,
        function: 'default/actor',
        code: answer.json.code,
        // The call before may still be letting go of its slot.
        placement: /^(warm|waited)$/,
        attempts: 1,
      });
    }
    t.notOk(simmer.logs().some((l) => l['executionId'] === good.json.executionId));
  },
);
