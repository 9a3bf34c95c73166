import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { bearer, KeyFile } from './keys.ts';
import { eventually, Simmer } from './simmer.ts';

t.test("the key is the secret's and the function's, and random without a secret", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-secret-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'secret');
  writeFileSync(file, 'x'.repeat(32));
  const flags = ['--callback-secret', file];
  const keyOf = async (name: string, server: Simmer) =>
    (await server.request(`/v1/functions/${name}/callback-key`)).json.key;
  const functions = [{ name: 'actor' }, { name: 'told' }];
  const first = await Simmer.start(t, functions, { flags });
  const second = await Simmer.start(t, functions, { flags });
  const without = await Simmer.start(t, functions);
  const key = await keyOf('actor', first);
  t.match(key, /^[A-Za-z0-9_-]{43}$/);
  t.equal(key, await keyOf('actor', second), 'the same after a restart');
  t.not(key, await keyOf('told', first));
  t.not(key, await keyOf('actor', without));
  t.equal(await keyOf('actor', without), await keyOf('actor', without), 'as long as it runs');
  t.equal((await first.request('/v1/functions/nobody/callback-key')).status, 404);
  const told = (server: Simmer) =>
    server.logs().filter((l) => /keys that end with this process/.test(l.message)).length;
  t.same([told(without), told(first)], [1, 0], 'said once where it is random');
  writeFileSync(file, 'short');
  await t.rejects(Simmer.start(t, functions, { flags }), /callback-secret: .* holds 5 bytes/);
});

t.test('the key is for those who may write the function', async (t) => {
  const keys = new KeyFile(t);
  const guarded = await Simmer.start(t, [{ name: 'actor' }], { flags: ['--api-keys', keys.path] });
  const path = '/v1/functions/actor/callback-key';
  for (const [wanted, expected] of [
    [{}, 200],
    [{ scopes: ['invoke', 'read'] }, 403],
    [{ functions: ['default/other'] }, 404],
  ] as const) {
    const key = keys.add(wanted as Parameters<KeyFile['add']>[0]);
    await eventually(`${JSON.stringify(wanted)}: ${expected}`, async () => {
      return (await guarded.request(path, bearer(key))).status === expected;
    });
  }
  t.equal((await guarded.request(path)).status, 401);
});
