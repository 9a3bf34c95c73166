/**
 * The process backend: a pod is a child process on this machine, running the Node runtime. A small process of ours, the
 * spawner, starts it and reads what it prints.
 *
 *     launch ──▶ asked ──spawned──▶ running ──exit──▶ (its last words are read) ──▶ gone
 *                  └──refused──▶ launch rejects, no event
 *
 * Invariants:
 *  1. Every pod whose launch resolved gives `started` once and then `exited` once.
 *  2. A child never outlives this process: its standard input is a pipe that closes with us (through the spawner, which
 *     ends with us too), whereupon it exits.
 *  3. What a child unpacked of its code is removed with it, also where it was killed.
 *  4. A child gets the base environment, its function's `env` and what tells it who it is; nothing else of ours.
 */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type {
  Backend,
  BackendEvent,
  BackendPod,
  FoundPod,
  LaunchRequest,
} from '@simmer/protocol/backend';
import { SimmerError } from '@simmer/protocol/errors';
import { RUNTIME_ENV, RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { LastWords } from './pod-log.ts';
import type { StreamName } from './pod-output.ts';
import { Spawner } from './spawner.ts';

/** What to run for a pod. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export interface ProcessBackendOptions {
  readonly command: Command;
  /** What every child inherits. */
  readonly environment: Readonly<Record<string, string>>;
  /** PEM of the CA by which children know the pod port; where it speaks TLS. */
  readonly ca?: string;
  /** Hears of each line that a child prints. */
  readonly onLine: (pod: BackendPod, stream: StreamName, line: string) => void;
}

interface Child {
  /** Its label is empty until it runs. */
  pod: BackendPod;
  /** Settles its launch, until it runs. */
  launch: { accept(): void; reject(error: SimmerError): void } | undefined;
  readonly lastWords: LastWords;
  /** Folder below which it may unpack its code. */
  readonly scratch: string;
  /** Set once it was asked to end: when force is used. */
  kill: { readonly at: number; readonly timer?: NodeJS.Timeout } | undefined;
}

/** The bundled Node runtime, run by the Node that runs us. */
export function nodeRuntime(): Command {
  const bundle = fileURLToPath(new URL('../../../../runtime/dist/runtime.cjs', import.meta.url));
  return { file: process.execPath, args: [...RUNTIME_NODE_FLAGS, bundle] };
}

export class ProcessBackend implements Backend {
  readonly name = 'process';
  readonly identifies = false;
  readonly outlives = false;
  private readonly options: ProcessBackendOptions;
  private readonly spawner: Spawner;
  private readonly children = new Map<string, Child>();
  private listener: (event: BackendEvent) => void = () => {};
  private closed = false;
  private onEmpty: () => void = () => {};

  constructor(options: ProcessBackendOptions) {
    this.options = options;
    this.spawner = new Spawner(options.environment, {
      spawned: (id, pid, at) => this.onSpawned(id, pid, at),
      refused: (id, reason) => this.onRefused(id, reason),
      line: (id, stream, line) => this.onLine(id, stream, line),
      exited: (id, how, at) => this.onExit(id, how, at),
    });
  }

  onEvent(listener: (event: BackendEvent) => void): void {
    this.listener = listener;
  }

  /** Process id of the spawner. */
  get spawnerPid(): number | undefined {
    return this.spawner.pid;
  }

  launch(request: LaunchRequest): Promise<void> {
    if (this.closed) return Promise.reject(refusal('the backend is closed'));
    const { podId, kind, functionKey, baseDir, revision } = request;
    const outside = request.spec.env.find((e) => e.valueFrom !== undefined);
    if (outside) {
      const detail = `env ${outside.name}: valueFrom needs the kubernetes backend`;
      return Promise.reject(refusal(detail));
    }
    const { file, args } = this.options.command;
    return new Promise((accept, reject) => {
      this.children.set(podId, {
        pod: { podId, kind, functionKey, label: '', revision },
        launch: { accept, reject },
        lastWords: new LastWords(),
        scratch: scratchOf(podId),
        kill: undefined,
      });
      const env = this.environmentOf(request);
      this.spawner.spawn({ id: podId, file, args, cwd: baseDir, env });
    });
  }

  /** What it prints is the function's from now on. */
  claimed(podId: string, functionKey: string, revision: string): void {
    const child = this.children.get(podId);
    if (child) child.pod = { ...child.pod, functionKey, revision };
  }

  async terminate(podId: string, graceMs: number): Promise<void> {
    const child = this.children.get(podId);
    if (!child) return;
    const at = performance.now() + graceMs;
    // A second request may only shorten the time that is left.
    if (child.kill && child.kill.at <= at) return;
    clearTimeout(child.kill?.timer);
    if (graceMs <= 0) {
      child.kill = { at };
      this.spawner.signal(podId, 'SIGKILL');
      return;
    }
    if (!child.kill) this.spawner.signal(podId, 'SIGTERM');
    const timer = setTimeout(() => this.spawner.signal(podId, 'SIGKILL'), graceMs);
    child.kill = { at, timer };
  }

  async list(): Promise<readonly BackendPod[]> {
    return [...this.children.values()].filter((c) => c.launch === undefined).map((c) => c.pod);
  }

  /** Children never outlive their launcher (2). */
  async adopt(): Promise<readonly FoundPod[]> {
    return [];
  }

  async close(): Promise<void> {
    this.closed = true;
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    for (const podId of this.children.keys()) await this.terminate(podId, 0);
    if (this.children.size > 0) await empty;
    await this.spawner.close();
  }

  private onSpawned(podId: string, pid: number, at: number): void {
    const child = this.children.get(podId);
    if (!child) return;
    const label = String(pid);
    child.pod = { ...child.pod, label };
    child.launch?.accept();
    child.launch = undefined;
    this.listener({ type: 'started', podId, label, at });
  }

  private onRefused(podId: string, reason: string): void {
    const child = this.children.get(podId);
    this.forget(podId);
    child?.launch?.reject(refusal(reason));
  }

  private onLine(podId: string, stream: StreamName, line: string): void {
    const child = this.children.get(podId);
    if (!child) return;
    if (stream === 'stderr') child.lastWords.note(line);
    this.options.onLine(child.pod, stream, line);
  }

  private onExit(podId: string, how: string, at: number): void {
    const child = this.children.get(podId);
    if (!child) return;
    this.forget(podId);
    void rm(child.scratch, { recursive: true, force: true }).catch(() => {}); // 3
    this.listener({ type: 'exited', podId, reason: `${how}${child.lastWords.suffix}`, at }); // 1
  }

  private forget(podId: string): void {
    clearTimeout(this.children.get(podId)?.kill?.timer);
    this.children.delete(podId);
    if (this.children.size === 0) this.onEmpty();
  }

  private environmentOf(request: LaunchRequest): Record<string, string> {
    const { spec, baseDir } = request;
    return {
      ...this.options.environment, // 4
      ...Object.fromEntries(spec.env.map((e) => [e.name, e.value ?? ''])),
      [RUNTIME_ENV.address]: request.address,
      [RUNTIME_ENV.podUid]: request.podId,
      [RUNTIME_ENV.token]: request.credential,
      [RUNTIME_ENV.function]: request.functionKey,
      // Code that the manifest holds comes over the socket.
      ...(spec.source === undefined && {
        [RUNTIME_ENV.handler]: resolve(baseDir, spec.handler),
      }),
      [RUNTIME_ENV.capacity]: String(spec.concurrency),
      [RUNTIME_ENV.graceMs]: String(spec.graceMs),
      [RUNTIME_ENV.scratch]: scratchOf(request.podId),
      ...(this.options.ca !== undefined && { [RUNTIME_ENV.ca]: this.options.ca }),
      ...(request.preload && { [RUNTIME_ENV.preload]: request.preload.join(',') }),
      [RUNTIME_ENV.exitWithStdin]: '1',
    };
  }
}

/** Nobody else's: ids of pods hold that of this process, which is random. */
function scratchOf(podId: string): string {
  return join(tmpdir(), `simmer-pod-${podId}`);
}

function refusal(reason: string): SimmerError {
  return new SimmerError('launch_failed', `cannot start the process: ${reason}`);
}
