/**
 * The control thread's side of the spawner process (spawner-process.ts).
 *
 * Invariants:
 *  1. Each order to spawn is answered by `spawned` or `refused`, and each `spawned` followed by its lines and then by
 *     `exited`, once.
 *  2. Should the spawner end, its children's standard input closes and they end with it: each counts as exited. The
 *     next order starts another spawner.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { StreamName } from './pod-output.ts';
import type { FromSpawner, SpawnOrder, ToSpawner } from './spawner-messages.ts';

/** Called in the order in which things happened to one child. */
export interface SpawnerListener {
  spawned(id: string, pid: number, at: number): void;
  refused(id: string, reason: string): void;
  line(id: string, stream: StreamName, line: string): void;
  exited(id: string, how: string, at: number): void;
}

/** Its own file, built or (in tests) as it was written. */
const ENTRY = fileURLToPath(
  new URL(`./spawner-process.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
);

type Process = ChildProcessByStdio<Writable, Readable, null>;

export class Spawner {
  private readonly listener: SpawnerListener;
  private readonly environment: Readonly<Record<string, string>>;
  private readonly children = new Map<string, 'asked' | 'running'>();
  private process: Process | undefined;
  private ended: Promise<void> = Promise.resolve();

  /** @param environment of the spawner itself */
  constructor(environment: Readonly<Record<string, string>>, listener: SpawnerListener) {
    this.environment = environment;
    this.listener = listener;
    // Now, while this process is small and nothing waits for a pod.
    this.process = this.start();
  }

  /** Process id of the spawner, while there is one. */
  get pid(): number | undefined {
    return this.process?.pid;
  }

  spawn(order: Omit<SpawnOrder, 'type'>): void {
    this.children.set(order.id, 'asked');
    this.process ??= this.start();
    this.tell({ type: 'spawn', ...order });
  }

  /** Also to a child that has been ordered and not yet begun. Unknown ids are ignored. */
  signal(id: string, signal: 'SIGTERM' | 'SIGKILL'): void {
    this.tell({ type: 'signal', id, signal });
  }

  /** Ends it, and with it what it still runs. */
  async close(): Promise<void> {
    this.process?.stdin.end();
    await this.ended;
  }

  private tell(order: ToSpawner): void {
    this.process?.stdin.write(`${JSON.stringify(order)}\n`);
  }

  private start(): Process {
    const child = spawn(process.execPath, [ENTRY], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...this.environment },
    });
    // An order to a spawner that has just gone: its end is what counts.
    child.stdin.on('error', () => {});
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.hear(JSON.parse(line) as FromSpawner);
    });
    this.ended = new Promise((resolve) => {
      const end = (reason: string) => {
        if (this.process === child) this.process = undefined;
        this.abandon(reason);
        resolve();
      };
      child.once('error', (error) => end(`cannot start the spawner: ${error.message}`));
      // Not `exit`: what it had said is heard first.
      child.once('close', () => end('the spawner process ended'));
    });
    return child;
  }

  private hear(message: FromSpawner): void {
    const { id } = message;
    switch (message.type) {
      case 'spawned':
        this.children.set(id, 'running');
        this.listener.spawned(id, message.pid, message.at);
        break;
      case 'refused':
        this.children.delete(id);
        this.listener.refused(id, message.reason);
        break;
      case 'line':
        this.listener.line(id, message.stream, message.line);
        break;
      case 'exited':
        this.children.delete(id);
        this.listener.exited(id, message.how, message.at);
        break;
    }
  }

  /** 2 */
  private abandon(reason: string): void {
    const children = [...this.children];
    this.children.clear();
    for (const [id, state] of children) {
      if (state === 'asked') this.listener.refused(id, reason);
      else this.listener.exited(id, reason, Date.now());
    }
  }
}
