import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

const PRINTER = `
import { setTimeout as delay } from 'node:timers/promises';
export default async ({ lines = [], failures = 0, after = 0, size }, ctx) => {
  if (size !== undefined) console.log('x'.repeat(size));
  for (const [level, text] of lines) console[level](text);
  await delay(after);
  ctx.log.info('attempt', { number: ctx.attempt });
  if (ctx.attempt <= failures) throw new Error('on purpose');
  return lines.length;
};
`;

const simmer = await Simmer.start(
  t,
  [
    { name: 'printer', code: PRINTER, spec: { minReplicas: 1, retry: { baseDelayMs: 1 } } },
    { name: 'silent', spec: { minReplicas: 1 } },
  ],
  {
    flags: ['--execution-log-bytes', '1KiB', '--executions-max', '4'].concat(
      '--execution-logs-sync-max-bytes',
      '64KiB',
    ),
  },
);

const logs = (id: string) => simmer.request(`/v1/executions/${id}/logs`);

async function run(name: string, input: unknown) {
  const body = JSON.stringify({ input });
  const path = `/v1/functions/${name}:enqueue`;
  const { json } = await simmer.request(path, { method: 'POST', body });
  return (await simmer.request(`/v1/executions/${json.executionId}?wait=30`)).json;
}

async function invoke(input: unknown) {
  const body = JSON.stringify({ input });
  const { json } = await simmer.request('/v1/functions/printer:invoke', { method: 'POST', body });
  return json.executionId as string;
}

t.test('the lines of all attempts, as they were printed', async (t) => {
  const lines = [
    ['log', 'one'],
    ['warn', 'zwei ö'],
    ['error', 'three'],
    ['debug', ''],
  ];
  const { executionId, traceId, attempts } = await run('printer', { lines, failures: 1 });
  const { status, json } = await logs(executionId);
  t.equal(status, 200);
  t.match(json, { executionId, truncated: false });
  const of = (attempt: number) => [
    [attempt, 'info', 'one'],
    [attempt, 'warn', 'zwei ö'],
    [attempt, 'error', 'three'],
    [attempt, 'debug', ''],
    [attempt, 'info', `attempt {"number":${attempt}}`],
  ];
  const said = json.lines.map((l: Record<string, unknown>) => [
    l['attempt'],
    l['level'],
    l['text'],
  ]);
  t.same(said, [...of(1), [1, 'error', 'Error: on purpose'], ...of(2)]);
  for (const { at, attempt } of json.lines) {
    t.ok(Date.parse(at) >= Date.parse(attempts[attempt - 1].startedAt));
    t.ok(Date.parse(at) <= Date.parse(attempts[attempt - 1].endedAt), 'before its result');
  }
  const printed = await eventually('the line is logged', () =>
    simmer.logs().find((line) => line.message === 'zwei ö'),
  );
  t.match(printed, { executionId, traceId }, 'and in the log, under the same trace');
});

t.test('while it runs', async (t) => {
  const body = JSON.stringify({ input: { lines: [['info', 'begun']], after: 3_000 } });
  const path = '/v1/functions/printer:enqueue';
  const { executionId } = (await simmer.request(path, { method: 'POST', body })).json;
  await eventually('the line is there', async () => {
    return (await logs(executionId)).json.lines[0]?.text === 'begun';
  });
  const { status } = (await simmer.request(`/v1/executions/${executionId}`)).json;
  t.equal(status, 'running');
});

t.test('an attempt that prints more than is kept is cut', async (t) => {
  const lines = Array.from({ length: 2_000 }, (_, i) => ['log', `line ${i}`]);
  const { executionId } = await run('printer', { lines });
  const { json } = await logs(executionId);
  t.ok(json.truncated);
  t.equal(json.lines[0].text, 'line 0');
  t.ok(json.lines.length > 20 && json.lines.length <= 1_024 / 32, `${json.lines.length} lines`);
  const { json: long } = await logs((await run('printer', { size: 5_000 })).executionId);
  t.match([long.truncated, long.lines.length], [true, 1]);
  t.equal(long.lines[0].text, 'x'.repeat(1_024 - 32));
});

t.test('of a synchronous call, until newer ones take the room', async (t) => {
  const id = await invoke({ lines: [['log', 'here']] });
  const { json } = await logs(id);
  t.match([json.truncated, json.lines[0].text], [false, 'here']);
  await Promise.all(Array.from({ length: 300 }, () => invoke({ size: 200 })));
  const gone = await logs(id);
  t.match([gone.status, gone.json], [200, { lines: [], truncated: true }], 'its record is there');
  const newest = await logs(await invoke({ lines: [['log', 'newest']] }));
  t.equal(newest.json.lines[0].text, 'newest');
});

t.test('they go with their execution; of others there are none', async (t) => {
  const { executionId } = await run('printer', { lines: [['log', 'old']] });
  for (let i = 0; i < 5; i++) await run('silent', {});
  t.match((await logs(executionId)).json.code, 'execution_evicted');
  const { executionId: silent } = await run('silent', {});
  t.match((await logs(silent)).json, { executionId: silent, lines: [] });
  const [boot] = executionId.split('-');
  t.match((await logs(`${boot}-999999`)).json.code, 'execution_not_found');
  t.match((await logs('aaaaaaaaaaaa-1')).json.code, 'lost_in_restart');
  const { status, headers } = await simmer.request(`/v1/executions/${silent}/logs`, {
    method: 'DELETE',
  });
  t.match([status, headers['allow']], [405, 'GET']);
});
