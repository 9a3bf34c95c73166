/**
 * Runs the tests that need a cluster, on the one that $KUBECONFIG names: `make test-k8s`. They make and remove
 * namespaces of their own; the CRDs, which are the cluster's, they leave. Files as arguments run some.
 *
 * The images come to its nodes by the command in SIMMER_CLUSTER_LOAD, which is given the name of one image and called for
 * each (`kind load docker-image`). SIMMER_CLUSTER_CONTROL is a command that can stop the API server, and start it again:
 * without it that test is left out. Without the first the images must be there: SIMMER_IMAGE_PREFIX and SIMMER_IMAGE_TAG say as what.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What test.mjs counted, and what it names as failed. */
const COUNTS = join(ROOT, '.tap/counts.json');
const FAILURES = join(ROOT, '.tap/failures.txt');
const FOLDERS = ['k8s/test/cluster', 'k8s/e2e'];
/** Of those that only copy files onto the runtime, and are called by the tests. */
const EXAMPLES = ['echo', 'word-stats', 'stream', 'fails'];
/** What they are made from: some tests run a few lines on nothing else. */
const BASE = 'docker.io/library/node:22-bookworm-slim';
/** One file may wait for several rollouts. */
const FILE_TIMEOUT_S = 900;

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', ...options });
  if (error) console.error(`${command}: ${error.message}`);
  return status ?? 1;
}

function must(...call) {
  const status = run(...call);
  if (status !== 0) process.exit(status);
}

if (run('kubectl', ['get', 'nodes', '--request-timeout=20s']) !== 0) {
  console.error('make test-k8s needs kubectl and a cluster: set KUBECONFIG, or see `make kind`.');
  process.exit(1);
}

const load = process.env.SIMMER_CLUSTER_LOAD?.trim();
if (load) {
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(ROOT, 'scripts/images.mjs'), 'control-plane', 'runtime', ...EXAMPLES],
    { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  );
  if (status !== 0) process.exit(status ?? 1);
  for (const image of [BASE, ...stdout.trim().split('\n')]) {
    console.log(`${load} ${image}`);
    // The loader may be several words.
    must('/bin/sh', ['-c', `${load} "$1"`, 'load', image]);
  }
}
must('kubectl', [
  'apply',
  '--server-side',
  '--force-conflicts',
  '--kustomize',
  'k8s/manifests/crds',
]);

const given = process.argv.slice(2);
const files = FOLDERS.filter((folder) => existsSync(join(ROOT, folder))).flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .sort()
    .map((name) => join(folder, name)),
);
const some = given.some((arg) => !arg.startsWith('-'));
if (some) {
  process.exitCode = test(given);
} else {
  // Files run side by side; the one that stops the API server, when nobody else needs it.
  const stops = (file) =>
    process.env.SIMMER_CLUSTER_CONTROL && file.includes('the-api-server-may-be-away');
  const parts = [files.filter((file) => !stops(file)), files.filter(stops)];
  let passed = 0;
  let failed = 0;
  let failures = '';
  for (const part of parts.filter(({ length }) => length > 0)) {
    const status = test([...given, ...part]);
    process.exitCode ||= status;
    const counts = JSON.parse(readFileSync(COUNTS, 'utf8'));
    passed += counts.passed;
    failed += counts.failed;
    if (existsSync(FAILURES)) failures += readFileSync(FAILURES, 'utf8');
  }
  writeFileSync(COUNTS, JSON.stringify({ passed, failed }));
  if (failures) writeFileSync(FAILURES, failures);
}

function test(args) {
  const timeout = `--timeout=${FILE_TIMEOUT_S}`;
  return run(process.execPath, [join(ROOT, 'scripts/test.mjs'), timeout, ...args]);
}
