/**
 * The real server as a child process, with real pods, on ports of its own: what the tests in this folder drive.
 * Functions are written into a temporary folder; all that was started ends with the test, by process id.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import { breachOf } from './api-contract.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
/** A safety net: what is waited for comes in a fraction of it. */
const LIMIT_MS = 30_000;
const POLL_MS = 20;

/** Waits until `look` gives something true, and gives it. */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  limitMs = LIMIT_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const until = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found) return found as NonNullable<Exclude<T, false>>;
    if (performance.now() > until) throw new Error(`not within ${limitMs} ms: ${what}`);
    await delay(POLL_MS);
  }
}

/** Whether a process of this id runs (one that ended and was not waited for does not). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
  } catch {
    return process.platform !== 'linux';
  }
}

/** Servers that run. tap ends a test that takes too long with SIGALRM, past its teardown: they are not to outlive it. */
const running = new Set<ChildProcess>();
for (const signal of ['SIGALRM', 'SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    for (const child of running) child.kill('SIGKILL');
    process.kill(process.pid, signal);
  });
}

export interface FunctionSetup {
  readonly name: string;
  /** The text of its handler, an ES module; ACTOR where absent. */
  readonly code?: string;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/**
 * A handler that does as its input says. `hold`: goes on once that file exists, whatever its signal says; `wait`: the
 * same, but lets go when it is told. Each run appends a line to `runs`, where that is given. With both a raw call works too.
 */
export const ACTOR = `
import { appendFileSync, existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
export default async (input, ctx) => {
  const { hold, wait, runs, echo, log, error } = input ?? {};
  if (runs) appendFileSync(runs, ctx.executionId + '\\n');
  if (log) console.log(log);
  if (error) throw new Error(error);
  while (hold && !existsSync(hold)) await delay(5);
  while (wait && !existsSync(wait)) {
    ctx.signal.throwIfAborted();
    await delay(5);
  }
  return { echo, pid: process.pid, traceId: ctx.traceId, executionId: ctx.executionId };
};
`;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  /** Parsed; throws where it is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  readonly json: any;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly signal?: AbortSignal;
}

/** One request, its answer whole. Rejects where there is none. */
export function request(
  port: number,
  path: string,
  options: RequestOptions = {},
  agent?: Agent,
): Promise<Answer> {
  const { body, method = body === undefined ? 'GET' : 'POST', headers = {}, signal } = options;
  return new Promise((resolve, reject) => {
    const framed = body === undefined || 'transfer-encoding' in headers;
    const length = framed ? {} : { 'content-length': Buffer.byteLength(body) };
    const req = httpRequest(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        headers: { ...length, ...headers },
        ...(agent && { agent }),
        ...(signal && { signal }),
      },
      (res) => {
        const parts: Buffer[] = [];
        res.on('data', (part: Buffer) => parts.push(part));
        res.on('error', reject);
        res.on('end', () => {
          const all = Buffer.concat(parts);
          resolve({
            status: res.statusCode as number,
            headers: res.headers,
            body: all,
            get text() {
              return all.toString();
            },
            get json() {
              return JSON.parse(all.toString());
            },
          });
        });
      },
    );
    req.on('error', reject);
    req.end(body);
  });
}

/** A line of the server's log. */
export type LogRecord = Readonly<Record<string, unknown>> & { readonly message: string };

export interface PodView {
  readonly id: string;
  readonly label: string | null;
  readonly kind: string;
  readonly state: string;
  readonly inFlight: number;
}

export interface PoolView {
  readonly desired: number;
  readonly decidedBy?: string;
  readonly decision?: string;
  readonly live: number;
  readonly ready: number;
  readonly idle: number;
  readonly busy: number;
  readonly launching: number;
  readonly jobs: number;
  readonly lost: number;
  readonly misses: Readonly<Record<string, number>>;
  readonly placements: Readonly<Record<string, number>>;
  readonly lastFailure?: {
    readonly code: string;
    readonly message: string;
    readonly count: number;
  };
  readonly pods: readonly PodView[];
}

export interface StartOptions {
  readonly flags?: readonly string[];
  /** False: only until it listens. */
  readonly ready?: boolean;
}

export class Simmer {
  readonly folder: string;
  readonly child: ChildProcess;
  /** What it ended with: its exit code or signal. */
  readonly exited: Promise<number | string>;
  port = 0;
  managementPort = 0;
  podPort = 0;
  private output = '';
  private errors = '';
  /** Idle sockets go before the server closes them, after ten seconds: a request on one that it just closes gets a reset. */
  private readonly agent = new Agent({ keepAlive: true, timeout: 4_000 });
  private files = 0;

  private constructor(folder: string, flags: readonly string[]) {
    this.folder = folder;
    this.child = spawn(
      process.execPath,
      [
        MAIN,
        ...['--functions', join(folder, 'functions')],
        ...['--port', '0', '--management-port', '0', '--pod-port', '0'],
        ...flags,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.child.stdout?.on('data', (data) => {
      this.output += data;
    });
    this.child.stderr?.on('data', (data) => {
      this.errors += data;
    });
    running.add(this.child);
    this.exited = new Promise((resolve) => {
      this.child.on('close', (code, signal) => {
        running.delete(this.child);
        resolve(code ?? signal ?? '');
      });
    });
  }

  /** Starts the server; it ends with the test `t`. */
  static async start(
    t: Pick<Test, 'teardown'>,
    functions: readonly FunctionSetup[],
    options: StartOptions = {},
  ): Promise<Simmer> {
    const folder = mkdtempSync(join(tmpdir(), 'simmer-test-'));
    mkdirSync(join(folder, 'functions'));
    for (const f of functions) writeFunction(folder, f);
    const simmer = new Simmer(folder, options.flags ?? []);
    t.teardown(() => simmer.stop());
    const serving = await eventually('the server serves', () => {
      if (simmer.child.exitCode !== null) throw new Error(`the server ended: ${simmer.stderr}`);
      return simmer.logs().find((line) => line.message === 'serving');
    });
    simmer.port = serving['port'] as number;
    simmer.managementPort = serving['managementPort'] as number;
    simmer.podPort = serving['podPort'] as number;
    if (options.ready !== false) {
      await eventually('the server is ready', async () => {
        const { status } = await request(simmer.managementPort, '/readyz');
        return status === 200;
      });
    }
    return simmer;
  }

  /** Writes (or replaces) a function's manifest and handler. */
  define(setup: FunctionSetup): void {
    writeFunction(this.folder, setup);
  }

  /** A manifest or handler of any content, or (null) none. */
  write(path: string, text: string | null): void {
    const file = join(this.folder, 'functions', path);
    mkdirSync(dirname(file), { recursive: true });
    if (text === null) rmSync(file);
    else writeFileSync(file, text);
  }

  /** The path of a file that does not exist yet: a handler's `hold`, until `open` makes it. */
  gate(): string {
    return join(this.folder, `gate-${++this.files}`);
  }

  open(gate: string): void {
    writeFileSync(gate, '');
  }

  /** The execution ids that handlers noted in their `runs` file. */
  runs(file: string): string[] {
    try {
      return readFileSync(file, 'utf8').split('\n').filter(Boolean);
    } catch {
      return [];
    }
  }

  /** Rejects where the answer is not as the OpenAPI document says. */
  async request(path: string, options: RequestOptions = {}): Promise<Answer> {
    const answer = await request(this.port, path, options, this.agent);
    const method = options.method ?? (options.body === undefined ? 'GET' : 'POST');
    const breach = breachOf(method, path, answer);
    if (breach !== undefined) throw new Error(`not as the OpenAPI document says: ${breach}`);
    return answer;
  }

  /** `:invoke` with this input. */
  invoke(
    name: string,
    input: unknown = {},
    options: Omit<RequestOptions, 'body'> = {},
  ): Promise<Answer> {
    const body = JSON.stringify({ input });
    return this.request(`/v1/functions/${name}:invoke`, { method: 'POST', ...options, body });
  }

  async pool(name: string): Promise<PoolView> {
    const { json } = await this.request(`/v1/pools/${name}`);
    return json as PoolView;
  }

  /** Process ids of the function's pods that serve. */
  async pids(name: string): Promise<number[]> {
    const { pods = [] } = await this.pool(name);
    return pods.filter((p) => p.state === 'idle' || p.state === 'busy').map((p) => Number(p.label));
  }

  async metrics(): Promise<string> {
    return (await request(this.managementPort, '/metrics')).text;
  }

  /** The sum of a metric's series that have all of these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    let sum = 0;
    for (const line of (await this.metrics()).split('\n')) {
      if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
      if (Object.entries(labels).some(([k, v]) => !line.includes(`${k}="${v}"`))) continue;
      sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
    return sum;
  }

  /** Waits until nothing of this function is queued, runs, or is held. */
  async quiet(key: string): Promise<void> {
    await eventually(`${key} is quiet`, async () => {
      const page = await this.metrics();
      const zero = (name: string) => page.includes(`${name}{function="${key}"} 0\n`);
      return (
        zero('simmer_function_running') &&
        zero('simmer_function_queue_depth') &&
        zero('simmer_function_held_bytes') &&
        page.includes('simmer_held_bytes 0\n')
      );
    });
  }

  /** The lines of the log so far. */
  logs(): LogRecord[] {
    const lines: LogRecord[] = [];
    for (const line of this.output.split('\n').slice(0, -1)) {
      try {
        lines.push(JSON.parse(line) as LogRecord);
      } catch {
        lines.push({ message: line });
      }
    }
    return lines;
  }

  get stderr(): string {
    return this.errors;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Resident memory, bytes; 0 where this system does not tell. */
  residentBytes(): number {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024;
    } catch {
      return 0;
    }
  }

  /** All processes below the server: its spawner and its pods. */
  descendants(): number[] {
    return descendantsOf(this.pid);
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    const below = descendantsOf(this.pid);
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
    for (const pid of below) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function writeFunction(folder: string, { name, code = ACTOR, spec = {} }: FunctionSetup): void {
  const handler = `${name}.mjs`;
  const manifest = {
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name },
    spec: { handler, ...spec },
  };
  writeFileSync(join(folder, 'functions', handler), code);
  // JSON is YAML.
  writeFileSync(join(folder, 'functions', `${name}.yaml`), JSON.stringify(manifest));
}

function descendantsOf(root: number): number[] {
  const children = new Map<number, number[]>();
  let names: string[] = [];
  try {
    names = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
  for (const name of names) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended meanwhile.
    }
  }
  const found: number[] = [];
  for (const queue = [root]; queue.length > 0; ) {
    const below = children.get(queue.pop() as number) ?? [];
    found.push(...below);
    queue.push(...below);
  }
  return found;
}
