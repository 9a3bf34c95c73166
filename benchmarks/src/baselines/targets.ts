/** Starts each target by its name. */
import { fileURLToPath } from 'node:url';
import { readyLine, start } from '../child.ts';
import { nginxVersion, startNginx } from './nginx.ts';
import { startSimmer } from './simmer.ts';
import {
  handlerFile,
  type Running,
  TARGETS,
  type TargetName,
  type TargetOptions,
} from './target.ts';

/** The targets that this machine has. */
export function availableTargets(): TargetName[] {
  return TARGETS.filter((name) => name !== 'nginx' || nginxVersion() !== undefined);
}

export function startTarget(name: TargetName, options: TargetOptions): Promise<Running> {
  switch (name) {
    case 'simmer':
      return startSimmer(options);
    case 'nginx':
      return startNginx(options);
    case 'relay':
    case 'push':
      return startIngress(name, options);
  }
}

/** The relay and the push ingress start their own pods and end with their standard input. */
async function startIngress(name: 'relay' | 'push', options: TargetOptions): Promise<Running> {
  const entry = fileURLToPath(new URL(`./${name}.js`, import.meta.url));
  const args = [entry, handlerFile(options.handler), String(options.pods)];
  const child = await start(process.execPath, args);
  const { port } = await readyLine<{ port: number }>(child);
  return { name, port, path: '/', stop: () => child.stop() };
}
