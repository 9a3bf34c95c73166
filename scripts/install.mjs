/**
 * Installs what package-lock.json names, unless it is installed already.
 *
 * `npm ci` removes node_modules first, so it runs only when the lock file says something else than what npm itself
 * noted down after its last installation (node_modules/.package-lock.json, written at its very end).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const STAMP = join(ROOT, 'node_modules/.simmer-installed');

const read = (path) => readFileSync(join(ROOT, path), 'utf8');

/** What decides what belongs into node_modules, and how tap is built. */
function wanted() {
  const hash = createHash('sha256');
  for (const path of [
    'package-lock.json',
    'package.json',
    '.npmrc',
    '.taprc',
    'scripts/install.mjs',
  ]) {
    hash.update(read(path));
  }
  return hash.update(`${process.platform}-${process.arch}`).digest('hex');
}

/** Is every package of the lock file installed in its version? Optional ones of other platforms never are. */
function isInstalled() {
  if (!existsSync(join(ROOT, 'node_modules/.package-lock.json'))) return false;
  const lock = JSON.parse(read('package-lock.json')).packages;
  const installed = JSON.parse(read('node_modules/.package-lock.json')).packages;
  return Object.entries(lock).every(([path, entry]) => {
    if (!path.includes('node_modules/')) return true;
    const there = installed[path];
    if (there === undefined) return entry.optional === true || entry.peer === true;
    return there.version === entry.version && there.integrity === entry.integrity;
  });
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

const stamp = wanted();
if (!existsSync(STAMP) || readFileSync(STAMP, 'utf8') !== stamp) {
  if (!isInstalled()) run('npm', ['ci', '--no-fund', '--no-audit']);
  // tap is built once without its TypeScript plugin (.taprc), which cannot load TypeScript 7; this needs no network.
  execFileSync(process.execPath, [join(ROOT, 'node_modules/tap/dist/esm/run.mjs'), 'build'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  writeFileSync(STAMP, stamp);
}
