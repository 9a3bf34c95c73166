import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { request, Simmer } from './simmer.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const PORTS = ['--port', '0', '--management-port', '0', '--pod-port', '0'];
const LIMIT_MS = 30_000;

const folder = mkdtempSync(join(tmpdir(), 'simmer-test-'));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));

function start(...flags: string[]) {
  return spawnSync(process.execPath, [MAIN, '--functions', folder, ...PORTS, ...flags], {
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
}

t.test('a bind beyond loopback needs keys, or --allow-anonymous', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1']) {
    const { status, stdout, stderr } = start('--host', host);
    t.equal(status, 1);
    t.equal(stdout, '');
    t.match(stderr, /^simmer: host: .* beyond loopback needs API keys .*, or --allow-anonymous\n$/);
  }
});

t.test('keys that cannot be read stop the start', async (t) => {
  t.match(start('--api-keys', '/nowhere/keys.json').stderr, /^simmer: api-keys: ENOENT/);
});

t.test('with it, it serves', async (t) => {
  const simmer = await Simmer.start(t, [{ name: 'one' }], {
    flags: ['--host', '0.0.0.0', '--allow-anonymous'],
  });
  t.equal((await request(simmer.port, '/v1/functions')).status, 200);
});

t.test('a port that is taken, a folder that is not there, an unknown option', async (t) => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  for (const option of ['--port', '--management-port', '--pod-port']) {
    const { status, stderr } = start(option, String(port));
    t.equal(status, 1, option);
    t.match(stderr, new RegExp(`^simmer: .*${port}.*\n$`), option);
  }
  const missing = start('--functions', join(folder, 'none'));
  t.equal(missing.status, 1);
  t.match(missing.stderr, /^simmer: functions: .*none.*\n$/);
  const unknown = start('--prot', '1');
  t.equal(unknown.status, 1);
  t.match(unknown.stderr, /^simmer: unknown option --prot: did you mean --port\?.*\n$/);
});
