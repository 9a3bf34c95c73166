/**
 * Runs each `sh` block of the pages below, in order, from the repository's folder, on the default ports.
 * A `text` block after one is what it must print; `…` in it stands for anything.
 */
import type { ChildProcess } from 'node:child_process';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PORTS = [8080, 8081, 8082];
/** Safety nets, far beyond what anything takes. */
const START_LIMIT_MS = 150_000;
const COMMAND_LIMIT_MS = 30_000;
const POLL_MS = 100;

const run = promisify(execFile);

interface Step {
  readonly command: string;
  readonly expected: string | undefined;
}

function stepsOf(page: string): Step[] {
  const text = readFileSync(new URL(`../${page}`, import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)];
  return blocks.flatMap(([, language, content = ''], i) => {
    if (language !== 'sh') return [];
    const next = blocks[i + 1];
    return [
      { command: content.trim(), expected: next?.[1] === 'text' ? next[2]?.trim() : undefined },
    ];
  });
}

function matches(expected: string, printed: string): boolean {
  const pattern = expected
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^]*');
  return new RegExp(`^${pattern}$`).test(printed.trim());
}

/** Without what the `make` and the tap that run this test have put there. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(MAKE|MFLAGS|ARGS$|JOBS$|TAP|_TAPJS)/.test(name),
  ),
);

async function isTaken(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A `make run`, in a process group of its own as a terminal gives it. */
class Server {
  private readonly child: ChildProcess;
  private readonly exited: Promise<unknown>;
  output = '';

  constructor(command: string) {
    this.child = spawn('sh', ['-c', command], { cwd: ROOT, env, detached: true });
    this.exited = once(this.child, 'exit');
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.output += data.toString();
      });
    }
  }

  async ready(): Promise<void> {
    const giveUpAt = Date.now() + START_LIMIT_MS;
    while (!this.output.includes('Simmer is ready')) {
      if (this.child.exitCode !== null || Date.now() > giveUpAt) {
        throw new Error(`it did not start:\n${this.output}`);
      }
      await delay(POLL_MS);
    }
  }

  /** Ctrl-C. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.pid !== undefined) {
      process.kill(-this.child.pid, 'SIGINT');
    }
    await this.exited;
  }
}

async function print(command: string): Promise<string> {
  try {
    const { stdout } = await run('sh', ['-e', '-c', command], {
      cwd: ROOT,
      env,
      timeout: COMMAND_LIMIT_MS,
    });
    return stdout;
  } catch (error) {
    return `${(error as Error).message}`;
  }
}

const PAGES = [
  'README.md',
  'docs/quickstart.md',
  'docs/managing-functions.md',
  'docs/deploying-code.md',
  'docs/pools.md',
];

for (const page of PAGES) {
  t.test(`the commands of ${page}`, async (t) => {
    for (const port of PORTS) {
      if (await isTaken(port)) {
        t.fail(`port ${port} is in use: the commands of ${page} need 8080 to 8082 as they stand`);
        return;
      }
    }
    let server: Server | undefined;
    t.teardown(async () => {
      await server?.stop();
      for (const folder of ['/tmp/simmer-functions', '/tmp/simmer-greet']) {
        rmSync(folder, { recursive: true, force: true });
      }
      rmSync('/tmp/small.png', { force: true });
    });
    const steps = stepsOf(page);
    t.ok(steps.length > 5, `${steps.length} commands`);
    for (const { command, expected } of steps) {
      if (command === 'make test') {
        // This is what runs now.
        t.match(readFileSync(`${ROOT}/Makefile`, 'utf8'), /^test:/m, command);
      } else if (command.startsWith('make run')) {
        await server?.stop();
        server = new Server(command);
        await server.ready();
        t.pass(command);
      } else if (expected === undefined) {
        await run('sh', ['-e', '-c', command], { cwd: ROOT, env, timeout: COMMAND_LIMIT_MS });
        t.pass(command.slice(0, 80));
      } else {
        const giveUpAt = Date.now() + COMMAND_LIMIT_MS;
        // A change of a function's code takes a moment, and a counter is read at its next beat.
        let printed = await print(command);
        while (!matches(expected, printed) && Date.now() < giveUpAt) {
          await delay(POLL_MS);
          printed = await print(command);
        }
        if (matches(expected, printed)) t.pass(command.slice(0, 80));
        else t.equal(printed.trim(), expected, command);
      }
    }
    await server?.stop();
    server = undefined;
    for (const port of PORTS) t.notOk(await isTaken(port), `port ${port} is free again`);
  });
}
