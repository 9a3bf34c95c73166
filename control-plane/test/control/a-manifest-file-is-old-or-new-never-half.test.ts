/** A process that writes one file over and over is killed in the middle, again and again; and somebody reads all the while. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { createFile } from '../../src/control/registry/manifest-file.ts';

const MODULE = new URL('../../src/control/registry/manifest-file.ts', import.meta.url).href;
const KILLS = 4;
/** So large that it takes several writes. */
const TEXTS = ['a', 'b'].map((letter) => `${letter.repeat(2_000_000)}\n`);

const WRITER = `
import { replaceFile } from ${JSON.stringify(MODULE)};
const texts = ['a', 'b'].map((letter) => letter.repeat(2_000_000) + '\\n');
for (let i = 0; ; i++) {
  await replaceFile(process.argv[1], texts[i % 2]);
  if (i === 1) console.log('writing');
}
`;

t.test('killed in the middle, it leaves the old text or the new one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-manifest-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'f.yaml');
  writeFileSync(path, TEXTS[0] as string);
  const isWhole = () => TEXTS.includes(readFileSync(path, 'utf8'));
  let reads = 0;
  let halves = 0;
  for (let i = 0; i < KILLS; i++) {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', WRITER, path],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    t.teardown(() => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    // A different moment each time.
    for (let n = 0; n < 10 + 7 * i; n++) {
      reads++;
      if (!isWhole()) halves++;
      await turn();
    }
    child.kill('SIGKILL');
    await once(child, 'exit');
    t.ok(isWhole());
  }
  t.equal(halves, 0, `of ${reads} reads`);
});

t.test('a new file takes nobody’s place', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-manifest-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'f.yaml');
  const made = await Promise.all(['1', '2', '3'].map((text) => createFile(path, text)));
  t.equal(made.filter(Boolean).length, 1);
  t.equal(readFileSync(path, 'utf8'), String(made.indexOf(true) + 1));
});
