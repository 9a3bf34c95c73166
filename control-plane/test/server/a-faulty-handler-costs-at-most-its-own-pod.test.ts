import t from 'tap';
import { eventually, isAlive, Simmer } from './simmer.ts';

const FLOOD_LINES = 100_000;
const MAX_RESULT_BYTES = 65_536;
/** Far below what the flood is in all: it must not gather in the server. */
const FLOOD_LIMIT_BYTES = 250_000_000;

const FAULTY = `
const later = () => new Promise((resolve) => setTimeout(resolve, 5));
const forever = new Promise(() => {});
const modes = {
  throw: () => { throw new TypeError('on purpose'); },
  reject: async () => { await later(); throw new Error('on purpose'); },
  'throw text': () => { throw 'only text'; },
  'throw nothing': () => { throw undefined; },
  'throw a trap': () => { throw { get code() { throw new Error('trap'); } }; },
  'bad input': (ctx) => { throw ctx.badInput('not like this'); },
  cycle: () => { const c = {}; c.c = c; return c; },
  bigint: () => 1n,
  'bad toJSON': () => ({ toJSON() { throw new Error('no'); } }),
  large: () => 'x'.repeat(1_000_000),
  'huge message': () => { throw new Error('m'.repeat(1_000_000)); },
  hang: (ctx) => new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason))),
  exit: () => process.exit(3),
  'exit 0': () => process.exit(0),
  abort: () => process.abort(),
  'kill itself': () => { process.kill(process.pid, 'SIGKILL'); return forever; },
  uncaught: () => { setTimeout(() => { throw new Error('outside'); }, 1); return forever; },
  unhandled: () => { Promise.reject(new Error('outside')); return forever; },
  deaf: () => forever,
  block: () => { for (;;); },
};
export default (input, ctx) => (input?.mode ? modes[input.mode](ctx) : process.pid);
`;
const FLOOD = `
export default (lines) => {
  for (let i = 0; i < lines; i++) console.log('line ' + i + ' ' + 'x'.repeat(900));
  process.stderr.write('y'.repeat(3_000_000));
  return 'done';
};
`;

const simmer = await Simmer.start(t, [
  {
    name: 'faulty',
    code: FAULTY,
    spec: {
      ...{ minReplicas: 1, maxReplicas: 1, overflow: 0, retry: { maxRetries: 0 } },
      ...{ timeoutMs: 20_000, graceMs: 200, maxResultBytes: MAX_RESULT_BYTES },
    },
  },
  { name: 'flood', code: FLOOD, spec: { minReplicas: 1, maxReplicas: 1 } },
  { name: 'other', spec: { minReplicas: 1, maxReplicas: 1 } },
]);
const [other] = await simmer.pids('other');

type Case = readonly [mode: string, status: number, code: string, detail: RegExp];

/** The pod goes on: it is only the call that fails. */
const CALL: readonly Case[] = [
  ['throw', 500, 'function_error', /^TypeError: on purpose$/],
  ['reject', 500, 'function_error', /^Error: on purpose$/],
  ['throw text', 500, 'function_error', /only text/],
  ['throw nothing', 500, 'function_error', /undefined/],
  ['throw a trap', 500, 'function_error', /./],
  ['bad input', 400, 'bad_input', /^not like this$/],
  ['cycle', 500, 'result_not_serializable', /./],
  ['bigint', 500, 'result_not_serializable', /./],
  ['bad toJSON', 500, 'result_not_serializable', /./],
  ['large', 500, 'result_too_large', /65536/],
  ['huge message', 500, 'function_error', /^Error: mmm/],
];

/** The pod ends, or is ended. */
const POD: readonly Case[] = [
  ['exit', 500, 'function_exited', /code 3/],
  ['exit 0', 500, 'function_exited', /code 0/],
  ['uncaught', 500, 'function_exited', /outside/],
  ['unhandled', 500, 'function_exited', /outside/],
  ['abort', 502, 'pod_lost', /./],
  ['kill itself', 502, 'pod_lost', /./],
];

t.test('a failing call leaves its pod in service', async (t) => {
  const { json } = await simmer.invoke('faulty');
  const pid = json.output;
  for (const [mode, status, code, detail] of CALL) {
    const answer = await simmer.invoke('faulty', { mode });
    t.match([mode, answer.status, answer.json.code], [mode, status, code]);
    t.match(answer.json.detail, detail);
    t.notMatch(answer.json.detail, /\n +at /, 'no stack is told to a caller');
    t.equal((await simmer.invoke('faulty')).json.output, pid, `${mode}: the pod serves on`);
  }
  const answer = await simmer.invoke(
    'faulty',
    { mode: 'hang' },
    { headers: { 'x-timeout-ms': '150' } },
  );
  t.match([answer.status, answer.json.code], [504, 'timeout']);
  t.equal((await simmer.invoke('faulty')).json.output, pid, 'hang: the pod serves on');
});

t.test('what ends the process costs the call and its pod, which is replaced', async (t) => {
  for (const [mode, status, code, detail] of POD) {
    const pid = (await simmer.invoke('faulty')).json.output;
    const answer = await simmer.invoke('faulty', { mode });
    t.match([mode, answer.status, answer.json.code], [mode, status, code]);
    t.match(answer.json.detail, detail);
    const after = await simmer.invoke('faulty');
    t.equal(after.status, 200, `${mode}: the next call succeeds`);
    t.not(after.json.output, pid, `${mode}: on another pod`);
    await eventually(`${mode}: the old pod is gone`, () => !isAlive(pid));
  }
});

t.test('one that does not let go at its deadline is killed and replaced', async (t) => {
  for (const mode of ['deaf', 'block']) {
    const pid = (await simmer.invoke('faulty')).json.output;
    const answer = await simmer.invoke('faulty', { mode }, { headers: { 'x-timeout-ms': '150' } });
    t.match([mode, answer.status, answer.json.code], [mode, 504, 'timeout']);
    t.match(answer.json.detail, /running/);
    await eventually(`${mode}: its pod is killed`, () => !isAlive(pid));
    t.not((await simmer.invoke('faulty')).json.output, pid);
  }
});

t.test('a flood of output harms nobody else', async (t) => {
  const before = simmer.residentBytes();
  let done = false;
  const flood = simmer.invoke('flood', FLOOD_LINES).finally(() => {
    done = true;
  });
  let peak = 0;
  let served = 0;
  while (!done) {
    t.equal((await simmer.invoke('other')).status, 200);
    served++;
    peak = Math.max(peak, simmer.residentBytes());
  }
  t.equal((await flood).json.output, 'done');
  t.ok(served > 0);
  t.ok(peak - before < FLOOD_LIMIT_BYTES, `grew by ${Math.round((peak - before) / 1e6)} MB`);
});

t.test('nobody else noticed, and nothing is left', async (t) => {
  await simmer.quiet('default/faulty');
  t.same(await simmer.pids('other'), [other]);
  t.equal((await simmer.pool('other')).lost, 0);
  t.equal(simmer.stderr, '');
});
