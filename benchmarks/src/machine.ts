/** What the figures were taken on. */
import { execFileSync } from 'node:child_process';
import { cpus, release, totalmem, type } from 'node:os';
import { nginxVersion } from './baselines/nginx.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly nginx: string;
  readonly commit: string;
  readonly date: string;
}

export function describeMachine(root: string): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release().replace(/-.*/, '')}`,
    node: process.version,
    nginx: nginxVersion() ?? 'not installed',
    commit: commitOf(root),
    date: new Date().toISOString().slice(0, 10),
  };
}

/** The commit of a checkout, marked where tracked files differ from it. */
function commitOf(root: string): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  try {
    const dirty = git('status', '--porcelain', '--untracked-files=no') !== '';
    return git('rev-parse', '--short=12', 'HEAD') + (dirty ? ' with changes' : '');
  } catch {
    return 'unknown';
  }
}

export function machineLine(m: Machine): string {
  return `${m.cpu}, ${m.cores} cores, ${m.memoryGiB} GiB; ${m.kernel}; Node ${m.node}; ${m.nginx}; commit ${m.commit}; ${m.date}`;
}
