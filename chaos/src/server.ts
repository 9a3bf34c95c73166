/** The control plane under test: the real one as a child process, its pods, its log, its memory. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Books } from './evidence.ts';
import {
  type Change,
  FUNCTIONS,
  type FunctionName,
  MAX_DELAY_MS,
  MAX_RETRIES,
  SPIN_TIMEOUT_MS,
  TIMEOUT_MS,
} from './plan.ts';

const MAIN = fileURLToPath(new URL('../../control-plane/dist/main.js', import.meta.url));
const HANDLERS = fileURLToPath(new URL('../functions', import.meta.url));
const START_MS = 60_000;
const POLL_MS = 50;
/** No more than a warm-up of half a minute makes, so that what is kept is full before the level of memory is taken. */
const EXECUTIONS_MAX = 500;
const KEYS_MAX = 500;
const CALLBACK_ATTEMPTS = 4;
const CALLBACK_TIMEOUT_MS = 3_000;
const HEARTBEAT_MS = 1_000;
/** On SIGTERM: what runs then gets this long. */
const SHUTDOWN_GRACE_MS = 5_000;

/**
 * One that spins holds up whatever else runs in its process. Those that spin on are killed, and a next attempt has a free
 * pod at once: should the two meet, it is here.
 */
const SPINS = {
  ...{ concurrency: 1, minReplicas: 2, timeoutMs: SPIN_TIMEOUT_MS, graceMs: 150 },
  retry: { maxRetries: MAX_RETRIES, baseDelayMs: 0, maxDelayMs: 0 },
};

/** Pods of it become functions': what they are given they take with them. Small enough to be empty at times. */
const WARM_POOL = 'warm';
const CODE = 'code';
/** Pools shrink and grow within the run. */
const SCALING = { stableWindowMs: 6_000, scaleDownDelayMs: 1_000 };

export type LogLine = Readonly<Record<string, unknown>>;

export class Server {
  readonly ledger: string;
  readonly exited: Promise<number | string>;
  port = 0;
  private managementPort = 0;
  private podPort = 0;
  private readonly functions: string;
  private readonly child: ChildProcess;
  private readonly lines: LogLine[] = [];
  private errors = '';
  private version = 0;

  private constructor(folder: string) {
    this.functions = join(folder, 'functions');
    this.ledger = join(folder, 'ledger');
    mkdirSync(this.ledger, { recursive: true });
    cpSync(HANDLERS, join(this.functions, CODE), { recursive: true });
    for (const name of FUNCTIONS) this.writeManifest(name, {});
    this.write('pool', 'WarmPool', WARM_POOL, { minReplicas: 2, maxReplicas: 8 });
    this.child = spawn(
      process.execPath,
      [
        MAIN,
        ...['--functions', this.functions],
        ...['--port', '0', '--management-port', '0', '--pod-port', '0'],
        ...['--heartbeat-ms', String(HEARTBEAT_MS)],
        ...['--executions-max', String(EXECUTIONS_MAX)],
        ...['--idempotency-keys-max', String(KEYS_MAX)],
        ...['--callback-allow', '127.0.0.1', '--callback-attempts', String(CALLBACK_ATTEMPTS)],
        ...['--callback-timeout-ms', String(CALLBACK_TIMEOUT_MS)],
        ...['--shutdown-grace-ms', String(SHUTDOWN_GRACE_MS)],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let partial = '';
    this.child.stdout?.setEncoding('utf8').on('data', (data: string) => {
      const lines = (partial + data).split('\n');
      partial = lines.pop() as string;
      for (const line of lines) this.onLine(line);
    });
    this.child.stderr?.setEncoding('utf8').on('data', (data: string) => {
      this.errors += data;
    });
    this.exited = new Promise((resolve) => {
      this.child.on('close', (code, signal) => resolve(code ?? signal ?? ''));
    });
  }

  /** @throws when it does not serve in time. */
  static async start(folder: string): Promise<Server> {
    const server = new Server(folder);
    const until = performance.now() + START_MS;
    for (;;) {
      const serving = server.lines.find((line) => line['message'] === 'serving');
      if (serving !== undefined) {
        server.port = serving['port'] as number;
        server.managementPort = serving['managementPort'] as number;
        server.podPort = serving['podPort'] as number;
        const ready = await fetch(`http://127.0.0.1:${server.managementPort}/readyz`);
        if (ready.ok) return server;
      }
      if (server.child.exitCode !== null) throw new Error(`the server ended: ${server.errors}`);
      if (performance.now() > until) {
        server.kill();
        throw new Error('the server did not serve in time');
      }
      await delay(POLL_MS);
    }
  }

  private onLine(line: string): void {
    try {
      this.lines.push(JSON.parse(line) as LogLine);
    } catch {
      this.lines.push({ level: 'error', message: `no JSON: ${line}` });
    }
  }

  /** Lines of its log; what pods print is among them. */
  get log(): readonly LogLine[] {
    return this.lines;
  }

  /** What it wrote beside its log. */
  get stderr(): string {
    return this.errors;
  }

  // ---- functions ---------------------------------------------------------------------------------------------------

  private writeManifest(name: FunctionName, more: Readonly<Record<string, unknown>>): void {
    this.write(name, 'Function', name, {
      handler: name === 'streams' ? 'streams.mjs' : 'worker.mjs',
      source: { folder: CODE },
      env: [{ name: 'CHAOS_LEDGER', value: this.ledger }],
      ...{ maxReplicas: 3, overflow: 1, concurrency: 6, keepAliveMs: 5_000, scaling: SCALING },
      // One has no pods but those that it claims.
      minReplicas: name === 'flaky' ? 0 : 1,
      ...{ timeoutMs: TIMEOUT_MS, deadlineMs: 30_000, graceMs: 300 },
      queue: { maxLength: 60 },
      retry: { maxRetries: MAX_RETRIES, baseDelayMs: 40, maxDelayMs: MAX_DELAY_MS },
      ...(name === 'spins' && SPINS),
      ...more,
    });
  }

  private write(file: string, kind: string, name: string, spec: object): void {
    const manifest = { apiVersion: 'simmer.dev/v1alpha1', kind, metadata: { name }, spec };
    // JSON is YAML.
    writeFileSync(join(this.functions, `${file}.yaml`), JSON.stringify(manifest));
  }

  change({ concurrency, minReplicas, code }: Change): void {
    this.version++;
    let handler = 'worker.mjs';
    let folder = CODE;
    if (code) {
      handler = `worker-${this.version}.mjs`;
      folder = `${CODE}-${this.version}`;
      cpSync(HANDLERS, join(this.functions, folder), { recursive: true });
      renameSync(join(this.functions, folder, 'worker.mjs'), join(this.functions, folder, handler));
    }
    this.writeManifest('changing', { concurrency, minReplicas, handler, source: { folder } });
  }

  // ---- what it is --------------------------------------------------------------------------------------------------

  /** Process ids of its pods, by their parent: the spawner. */
  pods(): number[] {
    const below = childrenOf();
    return (below.get(this.child.pid as number) ?? []).flatMap((pid) => below.get(pid) ?? []);
  }

  /** Process ids of the pods that it tells of. */
  async listedPods(): Promise<number[]> {
    const pids: number[] = [];
    for (const name of [...FUNCTIONS, `${WARM_POOL}?kind=WarmPool`]) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/v1/pools/${name}`);
      const { pods } = (await answer.json()) as { pods: { label: string | null }[] };
      for (const { label } of pods) if (label !== null) pids.push(Number(label));
    }
    return pids;
  }

  /** What signs the callbacks of each function. */
  async callbackKeys(): Promise<Map<string, string>> {
    const keys = new Map<string, string>();
    for (const name of FUNCTIONS) {
      const path = `/v1/functions/${name}/callback-key`;
      const answer = await fetch(`http://127.0.0.1:${this.port}${path}`);
      keys.set(name, ((await answer.json()) as { key: string }).key);
    }
    return keys;
  }

  /** Resident memory, bytes. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
  }

  async books(): Promise<Books> {
    const sum = await this.metrics();
    return {
      accepted: sum('simmer_accepted_total'),
      ended: sum('simmer_ended_total'),
      queued: sum('simmer_function_queue_depth'),
      running: sum('simmer_function_running') - sum('simmer_function_lingering'),
      waiting: sum('simmer_function_waiting'),
      heldBytes: sum('simmer_function_held_bytes') + sum('simmer_held_bytes'),
      callbacks: sum('simmer_callbacks_pending'),
    };
  }

  /** Attempts that came by their pod because it was claimed of the WarmPool. */
  async claims(): Promise<number> {
    return (await this.metrics())('simmer_placements_total', 'kind="generic"');
  }

  /** Gives the sum of a metric's values, of those with `label` in their labels. */
  private async metrics(): Promise<(name: string, label?: string) => number> {
    const page = await (await fetch(`http://127.0.0.1:${this.managementPort}/metrics`)).text();
    return (name, label = '') =>
      page
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
        .filter((line) => line.includes(label))
        .reduce((all, line) => all + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  }

  /** Whether a process of this id is one of its pods: ids are used again, by other control planes' pods as well. */
  isPod(pid: number): boolean {
    if (parentOf(pid) === undefined) return false;
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
      return environment.includes(`SIMMER_ADDRESS=ws://127.0.0.1:${this.podPort}\0`);
    } catch {
      return false;
    }
  }

  // ---- its end -----------------------------------------------------------------------------------------------------

  stop(): void {
    this.child.kill('SIGTERM');
  }

  kill(): void {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
  }
}

function childrenOf(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  return children;
}

/** undefined: there is no such process, or it ended and only waits to be told so. */
function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}
