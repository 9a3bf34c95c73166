import { spawn, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { eventually, request, Simmer } from './simmer.ts';

const PAGE = readFileSync(new URL('../../../docs/callbacks.md', import.meta.url), 'utf8');
/** By the name in their first lines. */
const SNIPPETS = new Map(
  [...PAGE.matchAll(/^```(?:js|py)\n(?:\/\/|#) (\S+)\n([\s\S]*?)^```/gm)].map((match) => {
    return [match[1] as string, match[2] as string] as const;
  }),
);
const hasPython = spawnSync('python3', ['--version']).status === 0;
const INTERPRETERS = { 'receiver.mjs': process.execPath, 'receiver.py': 'python3' };

const simmer = await Simmer.start(t, [{ name: 'report', spec: { minReplicas: 1 } }], {
  flags: ['--callback-allow', '127.0.0.1'],
});
const { key } = (await simmer.request('/v1/functions/report/callback-key')).json;
const folder = mkdtempSync(join(tmpdir(), 'simmer-receiver-'));
t.teardown(() => rmSync(folder, { recursive: true }));

t.same([...SNIPPETS.keys()].sort(), Object.keys(INTERPRETERS).sort());

for (const [name, interpreter] of Object.entries(INTERPRETERS)) {
  const skip = name.endsWith('.py') && !hasPython && 'there is no Python here';
  t.test(`${name} takes what Simmer signed, and nothing else`, { skip }, async (t) => {
    const file = join(folder, name);
    writeFileSync(file, SNIPPETS.get(name) as string);
    const child = spawn(interpreter, [file], {
      env: { ...process.env, CALLBACK_KEY: key, PORT: '0' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.on('data', (data) => {
      output += data;
    });
    const port = Number(await eventually('it listens', () => /^\d+\n/.exec(output)?.[0]));
    const enqueued = await simmer.request('/v1/functions/report:enqueue', {
      body: JSON.stringify({ callbackUrl: `http://127.0.0.1:${port}/reports` }),
    });
    const { executionId } = enqueued.json;
    await eventually('it is told', () => output.includes(`${executionId} succeeded\n`));
    await eventually('and has said so', async () => {
      return (await simmer.metric('simmer_callbacks_pending')) === 0;
    });

    const body = '{"executionId":"forged","status":"succeeded"}';
    const now = Math.floor(Date.now() / 1_000);
    const sign = (at: number | string, of = body, by = key) =>
      `v1=${createHmac('sha256', by).update(`${at}.${of}`).digest('hex')}`;
    const post = async (at: string, signature: string) => {
      const headers = { 'x-simmer-timestamp': at, 'x-simmer-signature': signature };
      return (await request(port, '/', { headers, body })).status;
    };
    const good = sign(now);
    for (const [what, at, signature] of [
      ['another key', `${now}`, sign(now, body, 'another')],
      ['another body', `${now}`, sign(now, `${body} `)],
      ['another time', `${now - 1}`, good],
      ['an old one', `${now - 400}`, sign(now - 400)],
      ['one of later', `${now + 900}`, sign(now + 900)],
      ['no time', '', sign('')],
      ['no number', 'soon', sign('soon')],
      ['no version', `${now}`, good.slice(3)],
      ['a part of it', `${now}`, good.slice(0, -2)],
      ['none', `${now}`, ''],
    ] as const) {
      t.equal(await post(at, signature), 401, what);
    }
    t.equal((await request(port, '/', { body })).status, 401, 'no headers at all');
    t.notMatch(output, /forged/);
    t.equal(await post(`${now}`, good), 204, 'the test itself signs well');
  });
}
