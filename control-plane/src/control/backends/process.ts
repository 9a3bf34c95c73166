/**
 * The process backend: a pod is a child process of this one, running the Node runtime.
 *
 *     launch ──▶ spawning ──spawn──▶ running ──exit──▶ leaving (its last words are read) ──▶ gone
 *                   └──error──▶ refused (launch rejects, no event)
 *
 * Invariants:
 *  1. Every pod whose launch resolved gives `started` once and then `exited` once.
 *  2. A child never outlives this process: its standard input is a pipe that closes with us, whereupon it exits.
 *  3. A child gets the base environment, its function's `env` and what tells it who it is; nothing else of ours.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Backend, BackendEvent, BackendPod, LaunchRequest } from '@simmer/protocol/backend';
import { SimmerError } from '@simmer/protocol/errors';
import { RUNTIME_ENV, RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import { LastWords } from './pod-log.ts';
import { PodOutput, type StreamName } from './pod-output.ts';

/** What to run for a pod. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

export interface ProcessBackendOptions {
  readonly command: Command;
  /** What every child inherits. */
  readonly environment: Readonly<Record<string, string>>;
  /** Hears of each line that a child prints. */
  readonly onLine: (pod: BackendPod, stream: StreamName, line: string) => void;
}

interface Child {
  readonly pod: BackendPod;
  readonly process: ChildProcess;
  readonly lastWords: LastWords;
  readonly output: PodOutput;
  /** Runs from a polite request to end until the time to use force. */
  kill: { readonly at: number; readonly timer?: NodeJS.Timeout } | undefined;
}

/** The bundled Node runtime, run by the Node that runs us. */
export function nodeRuntime(): Command {
  const bundle = fileURLToPath(new URL('../../../../runtime/dist/runtime.cjs', import.meta.url));
  return { file: process.execPath, args: [...RUNTIME_NODE_FLAGS, bundle] };
}

export class ProcessBackend implements Backend {
  readonly name = 'process';
  private readonly options: ProcessBackendOptions;
  private readonly children = new Map<string, Child>();
  private listener: (event: BackendEvent) => void = () => {};
  private closed = false;
  private onEmpty: (() => void) | undefined;

  constructor(options: ProcessBackendOptions) {
    this.options = options;
  }

  onEvent(listener: (event: BackendEvent) => void): void {
    this.listener = listener;
  }

  launch(request: LaunchRequest): Promise<void> {
    if (this.closed) return Promise.reject(refusal('the backend is closed'));
    const { file, args } = this.options.command;
    let child: ChildProcess;
    try {
      child = spawn(file, args, {
        cwd: request.baseDir,
        env: this.environmentOf(request),
        stdio: ['pipe', 'pipe', 'pipe'], // 2
      });
    } catch (error) {
      // An environment that no process can be given (a NUL in a value).
      return Promise.reject(refusal((error as Error).message));
    }
    return new Promise((accept, reject) => {
      child.once('error', (error) => {
        // spawn says ENOENT of the program where in truth the working directory is missing.
        const lacksFolder = !existsSync(request.baseDir);
        reject(refusal(lacksFolder ? `no folder ${request.baseDir}` : error.message));
      });
      child.once('spawn', () => {
        this.run(request, child);
        accept();
      });
    });
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
      child.process.kill('SIGKILL');
      return;
    }
    if (!child.kill) child.process.kill('SIGTERM');
    child.kill = { at, timer: setTimeout(() => child.process.kill('SIGKILL'), graceMs) };
  }

  async list(): Promise<readonly BackendPod[]> {
    return [...this.children.values()].map((child) => child.pod);
  }

  async close(): Promise<void> {
    this.closed = true;
    if (this.children.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
    for (const podId of this.children.keys()) await this.terminate(podId, 0);
    await empty;
  }

  private run(request: LaunchRequest, process: ChildProcess): void {
    const { podId, kind, functionKey } = request;
    const pod: BackendPod = { podId, kind, functionKey, label: String(process.pid) };
    const lastWords = new LastWords();
    const { stdin, stdout, stderr } = process;
    if (!stdin || !stdout || !stderr) throw new Error('a child without pipes');
    // Writing to a child that is gone: nothing is ever written, but closing the pipe may fail.
    stdin.on('error', () => {});
    const output = new PodOutput(stdout, stderr, (stream, line) => {
      if (stream === 'stderr') lastWords.note(line);
      this.options.onLine(pod, stream, line);
    });
    const child: Child = { pod, process, lastWords, output, kill: undefined };
    this.children.set(podId, child);
    // A signal that could not be sent, to a process that has just gone.
    process.on('error', () => {});
    process.once('exit', (code, signal) => void this.leave(child, code, signal));
    this.listener({ type: 'started', podId, label: pod.label, at: Date.now() });
    if (this.closed) process.kill('SIGKILL');
  }

  private async leave(child: Child, code: number | null, signal: string | null): Promise<void> {
    const at = Date.now();
    clearTimeout(child.kill?.timer);
    child.process.stdin?.destroy();
    await child.output.finish();
    this.children.delete(child.pod.podId);
    const what = signal === null ? `exit code ${code}` : `signal ${signal}`;
    const reason = `${what}${child.lastWords.suffix}`;
    this.listener({ type: 'exited', podId: child.pod.podId, reason, at }); // 1
    if (this.children.size === 0) this.onEmpty?.();
  }

  private environmentOf(request: LaunchRequest): Record<string, string> {
    const { spec, baseDir } = request;
    return {
      ...this.options.environment, // 3
      ...Object.fromEntries(spec.env.map((e) => [e.name, e.value])),
      [RUNTIME_ENV.address]: request.address,
      [RUNTIME_ENV.podUid]: request.podId,
      [RUNTIME_ENV.token]: request.credential,
      [RUNTIME_ENV.function]: request.functionKey,
      [RUNTIME_ENV.handler]: resolve(baseDir, spec.handler),
      [RUNTIME_ENV.capacity]: String(spec.concurrency),
      [RUNTIME_ENV.graceMs]: String(spec.graceMs),
      [RUNTIME_ENV.exitWithStdin]: '1',
    };
  }
}

function refusal(reason: string): SimmerError {
  return new SimmerError('launch_failed', `cannot start the process: ${reason}`);
}
