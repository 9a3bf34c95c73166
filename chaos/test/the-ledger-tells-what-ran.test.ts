import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { monotonic } from '../src/clock.ts';
import { readLedger, runsOf } from '../src/ledger.ts';

const LEDGER = new URL('../functions/ledger.mjs', import.meta.url).href;

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'simmer-ledger-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

/** Runs this in a process of its own, whose ledger is in `path`; gives how it ended. */
async function inProcess(path: string, code: string): Promise<number | string> {
  const text = `import { begin } from '${LEDGER}';\n${code}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', text], {
    env: { CHAOS_LEDGER: path },
    stdio: 'inherit',
  });
  const [exit, signal] = await once(child, 'exit');
  return exit ?? signal;
}

t.test('processes note what they run, each in its own file, by one clock', async (t) => {
  const path = folder();
  const before = monotonic();
  const code = (op: string) => `
    const entry = begin({ executionId: 'x-${op}', attempt: 2 }, '${op}');
    entry.still();
    entry.end('threw');`;
  t.equal(await inProcess(path, code('a')), 0);
  const between = monotonic();
  t.equal(await inProcess(path, code('b')), 0);
  const [a, b] = readLedger(path).sort((one, other) => one.startedAt - other.startedAt);
  t.match(a, { op: 'a', executionId: 'x-a', attempt: 2, outcome: 'threw' });
  t.match(b, { op: 'b' });
  const times = [before, a?.startedAt, a?.lastAt, between, b?.startedAt, b?.lastAt, monotonic()];
  t.same(
    times,
    [...(times as number[])].sort((one, other) => one - other),
  );
});

t.test('a last line that a kill cut off is none', async (t) => {
  const path = folder();
  const fact = { executionId: 'x', attempt: 1, op: 'o', pid: 1, at: 5 };
  const whole = `${JSON.stringify({ ...fact, type: 'start' })}\n`;
  const file = join(path, '1-1');
  writeFileSync(file, `${whole}${JSON.stringify({ ...fact, type: 'end' }).slice(0, 20)}`);
  t.match(readLedger(path), [{ op: 'o', outcome: undefined }]);
  writeFileSync(file, `${whole.slice(0, 20)}\n${whole}`);
  t.throws(() => readLedger(path), SyntaxError, 'a broken one before others is');
});

t.test('one that is killed leaves what it had noted', async (t) => {
  const path = folder();
  const code = `
    const entry = begin({ executionId: 'x-k', attempt: 1 }, 'k');
    for (let i = 0; ; i++) {
      entry.still();
      if (i === 1_000) process.kill(process.pid, 'SIGKILL');
    }`;
  t.equal(await inProcess(path, code), 'SIGKILL');
  const runs = readLedger(path);
  t.equal(runs.length, 1);
  t.equal(runs[0]?.outcome, undefined);
  t.ok((runs[0]?.lastAt as number) > (runs[0]?.startedAt as number));
});

t.test('an attempt that was started twice is two runs', async (t) => {
  const line = (type: string, at: number) =>
    JSON.stringify({ type, op: 'a', executionId: 'x', attempt: 1, pid: 1, at, outcome: 'ok' });
  const runs = runsOf([line('start', 1), line('end', 2), line('start', 3)]);
  t.same(
    runs.map(({ startedAt, outcome }) => [startedAt, outcome]),
    [
      [1, 'ok'],
      [3, undefined],
    ],
  );
});

t.test('what is no ledger is refused', async (t) => {
  const path = folder();
  writeFileSync(join(path, '1'), '{"type":"start"\n');
  t.throws(() => readLedger(path));
  t.throws(() => runsOf(['{"type":"end","executionId":"x","attempt":1}']), /before its start/);
});
