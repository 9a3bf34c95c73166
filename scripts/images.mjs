/**
 * Builds images: `make images`; `node scripts/images.mjs [NAME...]` builds some. `examples` stands for all examples.
 *
 * Environment: SIMMER_IMAGE_PREFIX (`localhost/simmer`), SIMMER_IMAGE_TAG (`dev`), CONTAINER_TOOL (podman where there is
 * one, else docker). A base image that is here already is not asked for again. The same sources give the same layers:
 * packages come from the lock file, and podman is given one time for all files.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PREFIX = process.env.SIMMER_IMAGE_PREFIX ?? 'localhost/simmer';
const TAG = process.env.SIMMER_IMAGE_TAG ?? 'dev';
const BASE = 'docker.io/library/node:22-bookworm-slim';
const OURS = ['control-plane', 'runtime'];
const EXAMPLES = readdirSync(join(ROOT, 'examples')).filter((name) =>
  existsSync(join(ROOT, 'examples', name, 'Dockerfile')),
);

function succeeds(command, args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function containerTool() {
  const wanted = process.env.CONTAINER_TOOL;
  for (const tool of wanted ? [wanted] : ['podman', 'docker']) {
    if (succeeds(tool, ['--version'])) return tool;
  }
  throw new Error(`Building images needs ${wanted ?? 'podman or docker'} on the PATH.`);
}

const tool = containerTool();
const isPodman = /podman/i.test(spawnSync(tool, ['--version'], { encoding: 'utf8' }).stdout);

/** Builds `context` by `dockerfile` as `image`; ends the process where that fails. */
function build(image, dockerfile, context, args) {
  // Docker asks no registry for an image that it has; podman is told so.
  const here = isPodman && succeeds(tool, ['image', 'exists', BASE]);
  const options = isPodman ? [...(here ? ['--pull=never'] : []), '--timestamp=0'] : [];
  const { status, error } = spawnSync(
    tool,
    ['build', '--quiet', ...options, ...args, '--tag', image, '--file', dockerfile, context],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] },
  );
  if (error) console.error(error.message);
  if (status !== 0) {
    console.error(`${image} could not be built`);
    process.exit(status ?? 1);
  }
  console.log(image);
}

const imageOf = (name) => `${PREFIX}/${name}:${TAG}`;
const given = process.argv.slice(2);
const names = given.length === 0 ? OURS : given.flatMap((n) => (n === 'examples' ? EXAMPLES : [n]));
const unknown = names.find((name) => !OURS.includes(name) && !EXAMPLES.includes(name));
if (unknown !== undefined) {
  console.error(`no image ${unknown}: there are ${[...OURS, 'examples', ...EXAMPLES].join(', ')}`);
  process.exit(2);
}
for (const name of names) {
  if (OURS.includes(name)) {
    build(imageOf(name), join(ROOT, `k8s/images/${name}.Dockerfile`), ROOT, []);
  } else {
    const folder = join(ROOT, 'examples', name);
    build(imageOf(name), join(folder, 'Dockerfile'), folder, [
      `--build-arg=RUNTIME=${imageOf('runtime')}`,
    ]);
  }
}
