/**
 * The spawner: a small process that starts the pods on the control plane's behalf, reads what they print, and tells of
 * their end.
 *
 * Why it exists: `fork` copies the page tables of the process that calls it and makes all its threads fault on the memory
 * they write next. From a control plane of 200 MB it took 9 ms, of 1 GB 39 ms, and the scheduler stalled meanwhile; from
 * here it takes 1 ms and stalls nobody (docs/adr/0004-who-forks.md).
 *
 * Invariants:
 *  1. It ends when its standard input does (the control plane is gone), and with it every pod's standard input.
 *  2. Writes to standard output wait for the reader (pipes are synchronous in Node on Linux): it never piles up lines.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PodOutput } from './pod-output.ts';
import type { FromSpawner, SpawnOrder, ToSpawner } from './spawner-messages.ts';

const children = new Map<string, ChildProcess>();

function tell(message: FromSpawner): void {
  process.stdout.write(`${JSON.stringify(message)}\n`); // 2
}

function start(order: SpawnOrder): void {
  const { id, file, args, cwd, env } = order;
  const refuse = (error: Error) => {
    children.delete(id);
    // spawn says ENOENT of the program where in truth the working directory is missing.
    tell({ type: 'refused', id, reason: existsSync(cwd) ? error.message : `no folder ${cwd}` });
  };
  let child: ChildProcess;
  try {
    child = spawn(file, args, { cwd, env, stdio: ['pipe', 'pipe', 'pipe'] });
  } catch (error) {
    // An environment that no process can be given (a NUL in a value).
    refuse(error as Error);
    return;
  }
  children.set(id, child);
  child.once('error', refuse);
  child.once('spawn', () => {
    child.off('error', refuse);
    // A signal to a process that has just gone.
    child.on('error', () => {});
    watch(id, child);
  });
}

function watch(id: string, child: ChildProcess): void {
  const { stdin, stdout, stderr, pid } = child;
  if (!stdin || !stdout || !stderr || pid === undefined) throw new Error('a child without pipes');
  // Nothing is ever written to it; closing it may fail.
  stdin.on('error', () => {});
  tell({ type: 'spawned', id, pid, at: Date.now() });
  const output = new PodOutput(stdout, stderr, (stream, line) =>
    tell({ type: 'line', id, stream, line }),
  );
  child.once('exit', async (code, signal) => {
    const at = Date.now();
    stdin.destroy();
    await output.finish();
    children.delete(id);
    tell({
      type: 'exited',
      id,
      how: signal === null ? `exit code ${code}` : `signal ${signal}`,
      at,
    });
  });
}

process.title = 'simmer-spawner';
// Ctrl-C and service managers signal the whole group; the order of things is the control plane's.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
// Of many lines at once the kernel may say ENOBUFS (a socket's buffer of over 68 KiB, where memory is in small pieces), which
// would end this process as if the control plane were gone: line by line.
(process.stdout as { _writev: unknown })._writev = null;
// The control plane is gone (1).
process.stdout.on('error', () => process.exit());

createInterface({ input: process.stdin })
  .on('line', (line) => {
    const order = JSON.parse(line) as ToSpawner;
    if (order.type === 'spawn') start(order);
    else children.get(order.id)?.kill(order.signal);
  })
  .on('close', () => process.exit()); // 1
