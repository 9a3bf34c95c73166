/** Everything from outside the link that ends this process: errors that escape, `process.exit`, signals, a closed stdin. */
import type { Pod } from './pod.ts';

export function guard(pod: Pod, exitWithStdin: boolean): void {
  process.on('uncaughtException', (error) => pod.crashed(error));
  process.on('unhandledRejection', (reason) => pod.crashed(reason));
  // Not a replaced `process.exit`: a handler may hold the original (`import { exit } from 'node:process'`).
  process.on('exit', (code) => pod.exitedByHandler(code));
  process.on('SIGTERM', () => pod.terminate());
  // Ctrl-C in a terminal reaches the whole process group. A child leaves the order of things to its control plane,
  // which drains it or, by ending, closes its stdin.
  process.on('SIGINT', () => {
    if (!exitWithStdin) pod.terminate();
  });
  if (exitWithStdin) {
    const vanish = () => pod.vanish();
    process.stdin.on('end', vanish).on('close', vanish).on('error', vanish).resume();
  }
}
