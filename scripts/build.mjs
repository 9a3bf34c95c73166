/** Compiles what has changed: `tsc -b` keeps its own record; the runtime and the browsers' client are bundled again when a file they are made from is newer. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

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

/** Runs `bundle` where one of `sources` is newer than its last result. */
function bundleOf(sources, bundle, stamp) {
  const made = existsSync(stamp) ? statSync(stamp).mtimeMs : 0;
  if (newest(sources.map((path) => join(ROOT, path))) <= made) return;
  // The stamp bears the time before the bundle was made: a file saved meanwhile is newer than it.
  const before = new Date();
  run(process.execPath, [bundle]);
  writeFileSync(stamp, '');
  utimesSync(stamp, before, before);
}

bundleOf(
  ['runtime/src', 'runtime/bundle.mjs', 'protocol/src', 'package-lock.json'],
  'runtime/bundle.mjs',
  join(ROOT, 'runtime/dist/.bundled'),
);
bundleOf(
  ['client/src', 'client/bundle.mjs', 'protocol/src', 'package-lock.json'],
  'client/bundle.mjs',
  join(ROOT, 'client/dist/.bundled'),
);
