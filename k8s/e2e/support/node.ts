/**
 * What only who stands on the node can do to a pod: cut its network. Possible where the tests run as root on the machine
 * that is the cluster's one node.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import type { Test } from 'tap';

/** Of the pod port. */
const PORT = '8082';

/** Why a pod's network cannot be cut from here; false where it can. */
export function notOnTheNode(): string | false {
  if (process.getuid?.() !== 0) return 'cutting a pod off needs root on its node';
  try {
    execFileSync('nsenter', ['--version']);
    execFileSync('iptables', ['--version']);
    return false;
  } catch (error) {
    return `cutting a pod off needs nsenter and iptables: ${(error as Error).message}`;
  }
}

/** A process of the pod, by its host name, which is the pod's. @throws when the pod runs on another machine. */
function processOf(pod: string): string {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      const environ = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (environ.includes(`HOSTNAME=${pod}`)) return pid;
    } catch {
      // It has ended.
    }
  }
  throw new Error(`no process of ${pod} on this machine`);
}

/** `drop`: its packets vanish, as when a cable is cut. `reset`: its connections to the pod port break at once. */
export function cutOff(
  t: Pick<Test, 'teardown'>,
  pod: string,
  how: 'drop' | 'reset',
): { mend(): void } {
  const namespace = `--net=/proc/${processOf(pod)}/ns/net`;
  const target =
    how === 'drop'
      ? [['-j', 'DROP']]
      : ['--dport', '--sport'].map((side) => [
          ...['-p', 'tcp', side, PORT],
          ...['-j', 'REJECT', '--reject-with', 'tcp-reset'],
        ]);
  const rules = ['INPUT', 'OUTPUT'].flatMap((chain) => target.map((rule) => [chain, ...rule]));
  // The namespace goes with the pod, and its rules with it.
  for (const rule of rules) execFileSync('nsenter', [namespace, 'iptables', '-w', '-A', ...rule]);
  let mended = false;
  const mend = () => {
    if (mended) return;
    mended = true;
    for (const rule of rules)
      execFileSync('nsenter', [namespace, 'iptables', '-w', '-D', ...rule], { stdio: 'pipe' });
  };
  t.teardown(() => {
    try {
      mend();
    } catch {
      // The pod is gone.
    }
  });
  return { mend };
}
