import t from 'tap';
import { ACTOR, eventually, request, Simmer } from './simmer.ts';

const GENEROUS_TIMEOUT_MS = 120_000;

const simmer = await Simmer.start(t, [
  {
    name: 'broken',
    code: `throw new Error('the database is not configured');`,
    spec: { minReplicas: 1, timeoutMs: GENEROUS_TIMEOUT_MS },
  },
  {
    name: 'exits',
    code: `console.error('no licence'); process.exit(7); export default () => 1;`,
    spec: { timeoutMs: GENEROUS_TIMEOUT_MS },
  },
  { name: 'empty', code: `export const nothing = 1;`, spec: { timeoutMs: GENEROUS_TIMEOUT_MS } },
  { name: 'works', spec: { minReplicas: 1 } },
]);

t.test('/readyz counts a pool that has said why it has no pods', async (t) => {
  t.equal((await request(simmer.managementPort, '/readyz')).status, 200);
  t.equal((await simmer.pool('works')).ready, 1);
});

const CASES = [
  ['broken', /the database is not configured/, 'handler_not_loaded'],
  ['exits', /exit code 7|code 7|no licence/, 'exited_before_ready|handler_not_loaded'],
  ['empty', /export/, 'handler_not_loaded'],
] as const;

for (const [name, reason, codes] of CASES) {
  t.test(`${name}: callers hear it soon, and so does who asks the pool`, async (t) => {
    const started = performance.now();
    const calls = await Promise.all([simmer.invoke(name), simmer.invoke(name)]);
    for (const answer of calls) {
      t.match([answer.status, answer.json.code], [503, 'no_capacity']);
      t.match(answer.json.detail, reason);
      t.match(answer.headers['retry-after'], /^[1-9]\d*$/);
    }
    t.ok(performance.now() - started < GENEROUS_TIMEOUT_MS / 2);
    const { lastFailure } = await simmer.pool(name);
    t.match(lastFailure?.code, new RegExp(`^(${codes})$`));
    t.match(lastFailure?.message, reason);
    t.ok(simmer.logs().some((l) => l.message.includes('before it was ready')));
  });
}

t.test('others work meanwhile', async (t) => {
  const calls = await Promise.all(Array.from({ length: 20 }, () => simmer.invoke('works')));
  for (const answer of calls) t.equal(answer.status, 200);
  t.equal((await simmer.pool('works')).lost, 0);
});

t.test('a handler file that is mended works again without a restart', async (t) => {
  simmer.write('broken.mjs', ACTOR);
  const answer = await eventually('it answers', async () => {
    const answer = await simmer.invoke('broken');
    t.match(answer.status, /^(200|503)$/);
    return answer.status === 200 && answer;
  });
  t.equal(answer.status, 200);
  await eventually('its minimum is there', async () => (await simmer.pool('broken')).ready >= 1);
});
