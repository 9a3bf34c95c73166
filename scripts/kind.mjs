/**
 * `make kind`: Simmer on a cluster of kind (https://kind.sigs.k8s.io) on this machine, made where there is none. Needs kind,
 * kubectl, and podman or docker. The images are built before.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CLUSTER = process.env.KIND_CLUSTER ?? 'simmer';
const PREFIX = process.env.SIMMER_IMAGE_PREFIX ?? 'localhost/simmer';
const TAG = process.env.SIMMER_IMAGE_TAG ?? 'dev';

function run(command, ...args) {
  console.log([command, ...args].join(' '));
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

const { stdout, error } = spawnSync('kind', ['get', 'clusters'], { encoding: 'utf8' });
if (error) {
  console.error('make kind needs kind on the PATH: https://kind.sigs.k8s.io');
  process.exit(1);
}
if (!stdout.split('\n').includes(CLUSTER)) run('kind', 'create', 'cluster', '--name', CLUSTER);

// An archive goes in whichever tool has built the images; kind asks docker alone for images by their names.
const podman = spawnSync('podman', ['--version'], { stdio: 'ignore' }).status === 0;
const tool = process.env.CONTAINER_TOOL ?? (podman ? 'podman' : 'docker');
const folder = mkdtempSync(join(tmpdir(), 'simmer-kind-'));
try {
  for (const name of ['control-plane', 'runtime']) {
    const archive = join(folder, `${name}.tar`);
    run(tool, 'save', '--output', archive, `${PREFIX}/${name}:${TAG}`);
    run('kind', 'load', 'image-archive', archive, '--name', CLUSTER);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const context = `--context=kind-${CLUSTER}`;
run('kubectl', context, 'apply', '-k', 'k8s/manifests');
run('kubectl', context, 'rollout', 'status', '-n', 'simmer-system', 'deployment/simmer');
console.log(`
Simmer runs. Another terminal: kubectl ${context} port-forward -n simmer-system service/simmer 8080:80
What to do then: docs/kubernetes-quickstart.md. Away with it: kind delete cluster --name ${CLUSTER}
`);
