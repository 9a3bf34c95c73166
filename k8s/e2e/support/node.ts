/**
 * What only who stands on the node can do to a pod: cut its network. Possible where the tests run as root on the machine
 * that is the cluster's one node.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Of the pod port. */
const PORT = '8082';
/** Where NodePorts answer on the node itself. */
const LOCAL = '127.0.0.1';

/** Why a pod's network cannot be cut from here; false where it can. */
export function notOnTheNode(): string | false {
  const node = process.env['SIMMER_TEST_NODE'] ?? LOCAL;
  if (node !== LOCAL) return `cutting a pod off needs its node, which is ${node}`;
  if (process.getuid?.() !== 0) return 'cutting a pod off needs root on its node';
  try {
    execFileSync('nsenter', ['--version']);
    execFileSync('iptables', ['--version']);
    execFileSync('ss', ['--version']);
    return false;
  } catch (error) {
    return `cutting a pod off needs nsenter, iptables and ss: ${(error as Error).message}`;
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

/** Its packets vanish from now on, both ways, as when a cable is cut. */
export function cutOff(pod: string): void {
  const namespace = namespaceOf(pod);
  // It goes with the pod, and its rules with it.
  for (const chain of ['INPUT', 'OUTPUT']) {
    execFileSync('nsenter', [namespace, 'iptables', '-w', '-A', chain, '-j', 'DROP']);
  }
}

/** Its connection to the pod port breaks, and both sides hear of it at once. */
export function breakConnection(pod: string): void {
  execFileSync('nsenter', [namespaceOf(pod), 'ss', '-K', '-4', '-t', `dport = :${PORT}`]);
}

const namespaceOf = (pod: string): string => `--net=/proc/${processOf(pod)}/ns/net`;
