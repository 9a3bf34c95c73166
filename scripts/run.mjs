/**
 * `make run`: starts the control plane with the example functions and, once it is ready, prints how to call each.
 * Arguments are handed on: `node scripts/run.mjs --port 9000`.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { resolveConfig } from '../control-plane/dist/config/config.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const READY_POLL_MS = 100;

const args = ['--functions', join(ROOT, 'examples'), ...process.argv.slice(2)];

/** One call of each example; `$` stands for the public address. */
const CALLS = [
  `curl $/v1/functions/echo:invoke -d '{"input": {"hello": "world"}}'`,
  `curl $/fn/word-stats -H 'content-type: text/plain' -d 'to be or not to be'`,
  `curl '$/fn/image-resize?width=64' --data-binary @examples/image-resize/sample.png -o /tmp/small.png`,
  `curl -N '$/fn/stream?count=5&intervalMs=200'`,
  `# in a browser: http://$/fn/page`,
  `curl $/v1/functions/fails:invoke -d '{"input": {"mode": "throw"}}'`,
];

const resolution = resolveConfig(args, process.env);
// What is configured as 0 is told by the log line of the start.
const ports =
  resolution.kind === 'config'
    ? { port: resolution.config.port, managementPort: resolution.config.managementPort }
    : undefined;

// A process group of its own: a terminal's ctrl-C reaches it once, by the handler below.
const server = spawn(process.execPath, [join(ROOT, 'control-plane/dist/main.js'), ...args], {
  stdio: ['inherit', 'pipe', 'inherit'],
  detached: true,
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => server.kill(signal === 'SIGHUP' ? 'SIGTERM' : signal));
}

server.stdout.pipe(process.stdout);
createInterface({ input: server.stdout }).on('line', (line) => {
  if (ports === undefined || (ports.port !== 0 && ports.managementPort !== 0)) return;
  let fields;
  try {
    fields = JSON.parse(line);
  } catch {
    return;
  }
  for (const name of ['port', 'managementPort']) {
    if (ports[name] === 0 && Number.isInteger(fields[name])) ports[name] = fields[name];
  }
});

let ended = false;
server.on('exit', (code, signal) => {
  ended = true;
  process.exitCode = code ?? (signal === 'SIGINT' || signal === 'SIGTERM' ? 0 : 1);
});

async function isReady() {
  if (ports.port === 0 || ports.managementPort === 0) return false;
  try {
    return (await fetch(`http://127.0.0.1:${ports.managementPort}/readyz`)).ok;
  } catch {
    return false;
  }
}

if (ports !== undefined) {
  while (!ended && !(await isReady())) await delay(READY_POLL_MS);
  if (!ended) {
    const address = `localhost:${ports.port}`;
    // The command line looks at 8080 unless it is told.
    const where = ports.port === 8080 ? '' : `SIMMER_URL=http://${address} `;
    const calls = CALLS.map((call) => `  ${call.replace('$', address)}`).join('\n');
    console.log(
      `\nSimmer is ready. Try:\n\n${calls}\n\n` +
        `  ${where}./simmer invoke echo --data '{"hello": "world"}'\n  ${where}./simmer executions\n\n` +
        `  curl ${address}/v1/pools\n  curl localhost:${ports.managementPort}/metrics\n\nCtrl-C ends it.\n`,
    );
  }
}
