/**
 * Sees to it that Simmer runs on the Node it is built for: where the one on the PATH does not fit, fetches the pinned
 * release from the npm registry into .node/, whose bin/ the Makefile puts first on the PATH.
 *
 * Runs on Node 20 and later, before anything is installed.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const VERSION = '22.23.3';
/** The packages that hold Node's own release binaries, and the SHA-512 of what was published. */
const PACKAGES = {
  'linux-x64':
    'sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==',
  'linux-arm64':
    'sha512-l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA==',
  'darwin-x64':
    'sha512-V6W/fNXsKFF0DMrBrpLNp9meU45Qbe6tQ3HlzrpdiPWW+zlbmTGou1LE8aGHOghVWXJFexvi7RDCQVQi1I1t8w==',
};

/** `engines.node` of package.json: >=22.19 <23. */
function fits(version) {
  const [major, minor] = version.split('.').map(Number);
  return major === 22 && minor >= 19;
}

function fetchNode() {
  const platform = `${process.platform}-${process.arch}`;
  const integrity = PACKAGES[platform];
  if (integrity === undefined) {
    console.error(
      `Simmer needs Node 22.19 or later of Node 22, this is ${process.version}. There is no package of it for ` +
        `${platform} to fetch: install Node 22 and put it on the PATH.`,
    );
    process.exit(1);
  }
  const name = `node-${platform}@${VERSION}`;
  console.log(`Node ${process.version} is not Node 22.19 or later: fetching ${name} into .node/`);
  const work = mkdtempSync(join(ROOT, '.node-'));
  try {
    execFileSync('npm', ['pack', '--silent', '--pack-destination', work, name], {
      cwd: work,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const archive = readdirSync(work).find((file) => file.endsWith('.tgz'));
    if (archive === undefined) throw new Error('npm pack left no archive');
    const digest = createHash('sha512')
      .update(readFileSync(join(work, archive)))
      .digest('base64');
    if (`sha512-${digest}` !== integrity) {
      throw new Error(`sha512-${digest} is not what is pinned for ${name}`);
    }
    mkdirSync(join(work, 'package'), { recursive: true });
    execFileSync('tar', ['-xzf', archive, 'package/bin/node'], { cwd: work });
    const got = execFileSync(join(work, 'package/bin/node'), ['--version'], { encoding: 'utf8' });
    if (got.trim() !== `v${VERSION}`) throw new Error(`it says that it is ${got.trim()}`);
    // Moved into place whole, so that an interrupted fetch leaves nothing that looks finished.
    rmSync(join(ROOT, '.node'), { recursive: true, force: true });
    renameSync(join(work, 'package'), join(ROOT, '.node'));
  } catch (error) {
    console.error(`Fetching ${name} failed: ${error.message}`);
    process.exitCode = 1;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (!fits(process.versions.node)) fetchNode();
