/**
 * Child processes of a benchmark. Each prints one JSON line once it is ready, and ends when its standard input
 * closes, so that none outlives the run whatever becomes of it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** From the signal to stop, politely, until it is killed. */
const STOP_MS = 8_000;
const KEPT_OUTPUT_CHARS = 8_192;

export interface Child {
  readonly pid: number;
  readonly process: ChildProcess;
  /** Its last output of both kinds, for messages. */
  output(): string;
  /** Ends it by its process id; resolves when it is gone. */
  stop(): Promise<void>;
}

/** @throws when the program cannot be started. */
export async function start(
  command: string,
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<Child> {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
  });
  let output = '';
  const keep = (data: Buffer) => {
    output = (output + data.toString()).slice(-KEPT_OUTPUT_CHARS);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  // It may end first; that its pipe breaks is no news then.
  child.stdin.on('error', () => {});
  await once(child, 'spawn');
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return {
    pid: child.pid as number,
    process: child,
    output: () => output,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.stdin.end();
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await gone;
      clearTimeout(force);
    },
  };
}

/** Waits for the next line on standard output that begins with `{`, and parses it. @throws when the child ends before. */
export function readyLine<T>(child: Child): Promise<T> {
  return new Promise((resolve, reject) => {
    let text = '';
    const { stdout } = child.process;
    const take = (data: Buffer) => {
      text += data.toString();
      const line = text.split('\n').find((l, i, all) => i < all.length - 1 && l.startsWith('{'));
      if (line === undefined) return;
      stdout?.off('data', take);
      child.process.off('exit', exited);
      resolve(JSON.parse(line) as T);
    };
    const exited = (code: number | null, signal: string | null) => {
      reject(new Error(`process ended (${code ?? signal}) before it was ready: ${child.output()}`));
    };
    stdout?.on('data', take);
    child.process.once('exit', exited);
  });
}

/** For a child's own use: says that it is ready and ties its life to its parent's. */
export function announce(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
}

/** Resident memory of a process in MiB; undefined once it is gone. */
export function residentMiB(pid: number): number | undefined {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? undefined : Number(kib) / 1024;
  } catch {
    return undefined;
  }
}

/** Process ids of a process's own children, whichever of its threads started them. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
      .split(' ')
      .filter((text) => text !== '')
      .map(Number),
  );
}

/** Polls until `check` gives something. @throws with `what` after `limitMs`. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined> | T | undefined,
  limitMs = 30_000,
  everyMs = 10,
): Promise<T> {
  const until = performance.now() + limitMs;
  for (;;) {
    const value = await check();
    if (value !== undefined) return value;
    if (performance.now() > until) throw new Error(`${what}: not within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
