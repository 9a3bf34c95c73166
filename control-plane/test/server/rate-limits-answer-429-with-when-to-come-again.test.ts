import t, { type Test } from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { type Answer, eventually, Simmer } from './simmer.ts';

/** So slow that none is refilled while a test runs. */
const requestsPerSecond = 0.001;

function isLimited(t: Test, answer: Answer, burst: number): void {
  t.match(answer.json, { status: 429, code: 'rate_limited' });
  t.match(answer.headers, {
    'ratelimit-limit': String(burst),
    'ratelimit-remaining': '0',
    'ratelimit-reset': /^\d+$/,
    'retry-after': /^\d+$/,
  });
  const after = Number(answer.headers['retry-after']);
  t.ok(after > 900 && after <= 1_000, 'until one is refilled');
  const reset = Number(answer.headers['ratelimit-reset']);
  t.ok(reset > burst * 900 && reset <= burst * 1_000, 'until all are');
}

t.test('a key has a limit of its own, over all that it asks for', async (t) => {
  const keys = new KeyFile(t);
  const limited = keys.add({ rateLimit: { requestsPerSecond, burst: 3 } });
  const other = keys.add();
  const simmer = await Simmer.start(t, [{ name: 'fn' }, { name: 'more' }], {
    flags: ['--api-keys', keys.path],
  });
  t.equal((await simmer.invoke('fn', {}, bearer(limited))).status, 200);
  t.equal((await simmer.request('/v1/functions', bearer(limited))).status, 200);
  t.equal((await simmer.invoke('no-such', {}, bearer(limited))).status, 404);
  isLimited(t, await simmer.invoke('more', {}, bearer(limited)), 3);
  isLimited(t, await simmer.request('/v1/pools', bearer(limited)), 3);
  t.equal((await simmer.invoke('fn', {}, bearer(other))).status, 200);
  t.equal(await simmer.metric('simmer_refused_requests_total', { code: 'rate_limited' }), 2);

  // A change elsewhere in the file refills nothing; one of the limit itself begins anew.
  const third = keys.add();
  await eventually(
    'the new key holds',
    async () => (await simmer.invoke('fn', {}, bearer(third))).status === 200,
  );
  isLimited(t, await simmer.invoke('fn', {}, bearer(limited)), 3);
  const [entry, ...rest] = keys.file.keys;
  const changed = { ...entry, rateLimit: { requestsPerSecond, burst: 5 } } as typeof entry;
  keys.file = { ...keys.file, keys: [changed as never, ...rest] };
  keys.write();
  await eventually(
    'the new limit holds',
    async () => (await simmer.invoke('fn', {}, bearer(limited))).status === 200,
  );
});

t.test(
  'a function has a limit over all callers, which a change of it alone begins anew',
  async (t) => {
    const rateLimit = { requestsPerSecond, burst: 2 };
    const simmer = await Simmer.start(t, [{ name: 'fn', spec: { rateLimit } }, { name: 'free' }]);
    const [pid] = [(await simmer.invoke('fn')).json.output.pid as number];
    t.equal((await simmer.request('/fn/fn/')).status, 200);
    isLimited(t, await simmer.invoke('fn'), 2);
    isLimited(t, await simmer.request('/fn/fn/x'), 2);
    const body = '{"input":{}}';
    isLimited(t, await simmer.request('/v1/functions/fn:enqueue', { body }), 2);
    t.equal((await simmer.invoke('free')).status, 200);
    t.equal(
      await simmer.metric('simmer_invocations_total', {
        function: 'default/fn',
        code: 'rate_limited',
      }),
      3,
    );
    simmer.define({ name: 'fn', spec: { rateLimit, queue: { maxLength: 7 } } });
    await eventually('the queue is another', async () => {
      const { json } = await simmer.request('/v1/functions/fn');
      return json.spec.queue.maxLength === 7;
    });
    isLimited(t, await simmer.invoke('fn'), 2);
    simmer.define({ name: 'fn', spec: { rateLimit: { requestsPerSecond, burst: 9 } } });
    const answer = await eventually('the limit is another', async () => {
      const again = await simmer.invoke('fn');
      return again.status === 200 && again;
    });
    t.equal(answer.json.output.pid, pid, 'its pods stay');
  },
);
