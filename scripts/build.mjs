/** Compiles what has changed: `tsc -b` keeps its own record; the runtime is bundled again when a file it is made from is newer. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUNDLED = join(ROOT, 'runtime/dist/.bundled');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

/** Modification time of the newest file at or below each path, in milliseconds. */
function newest(paths) {
  return Math.max(
    ...paths.map((path) => {
      const stat = statSync(path);
      if (!stat.isDirectory()) return stat.mtimeMs;
      return newest([...readdirSync(path).map((name) => join(path, name))]);
    }),
  );
}

run(join(ROOT, 'node_modules/.bin/tsc'), ['-b']);

const sources = ['runtime/src', 'runtime/bundle.mjs', 'protocol/src', 'package-lock.json'];
const made = existsSync(BUNDLED) ? statSync(BUNDLED).mtimeMs : 0;
if (newest(sources.map((path) => join(ROOT, path))) > made) {
  // The stamp bears the time before the bundle was made: a file saved meanwhile is newer than it.
  const before = new Date();
  run(process.execPath, ['runtime/bundle.mjs']);
  writeFileSync(BUNDLED, '');
  utimesSync(BUNDLED, before, before);
}
