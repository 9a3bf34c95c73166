/**
 * `simmer dev`: builds, deploys, and does so again when a file is saved that went into it, or what says how to deploy it.
 *
 *   building ──▶ deploying ──▶ serving ──saved──▶ building
 *       └── does not build, does not serve: told; what was there goes on
 *
 * A build that ends while another is being deployed waits for it; of several only the newest is deployed.
 */
import type { Plugin } from 'esbuild';
import { sizeOf } from '../commands/deploy.ts';
import { EXIT, Failure } from '../failure.ts';
import type { Server } from '../server.ts';
import { type Built, type Bundle, buildOptions, bundleOf, doesNotBuild } from './bundle.ts';
import { deploy } from './deploy.ts';
import { follow } from './follow.ts';
import { type Project, projectIn } from './project.ts';

export interface DevelopOptions {
  readonly server: Server;
  readonly folder: string;
  readonly name: string | undefined;
  readonly waitS: number;
  /** Packages that are left out of it. */
  readonly external: readonly string[];
  readonly print: (text: string) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Resolves once it was told to end. @throws {Failure} where the first deployment shows that no later one can go well */
export async function develop(options: DevelopOptions): Promise<void> {
  const { server, print, signal } = options;
  const project = projectIn(options.folder, options.name);
  const builds = new Newest<Built>(signal);
  const ended: Plugin = {
    name: 'ended',
    setup(build) {
      build.onResolve({ filter: /^/ }, ({ kind }) =>
        // What says how it is deployed is watched as what goes into it is.
        kind === 'entry-point' ? { watchFiles: [...project.sources] } : undefined,
      );
      build.onEnd((result) => builds.put(result as Built));
    },
  };
  const { context } = await import('esbuild');
  const building = await context(
    buildOptions(project.folder, project.entry, options.external, [ended]),
  );
  const over = new AbortController();
  const following = follow(server, project.name, print, AbortSignal.any([signal, over.signal]));
  try {
    await building.watch();
    let last: string | undefined;
    for await (const result of builds) {
      last = await attempt(options, result, last, last === undefined);
    }
  } finally {
    over.abort();
    await building.dispose();
    await following;
  }
}

/** What is deployed now, as text; told where it is another. */
async function attempt(
  options: DevelopOptions,
  result: Built,
  last: string | undefined,
  isFirst: boolean,
): Promise<string> {
  const { server, print, signal, waitS } = options;
  const began = performance.now();
  try {
    if (result.errors.length > 0) throw doesNotBuild(result.errors);
    const project: Project = projectIn(options.folder, options.name);
    const bundle: Bundle = bundleOf(project.folder, result);
    const now = JSON.stringify([project, bundle.digest]);
    if (now === last) return now;
    await deploy(server, project, bundle, waitS, signal);
    const took = `${Math.round(performance.now() - began)} ms`;
    const size = sizeOf(bundle.bytes.length);
    print(`${project.name} serves (${size}, ${took}): ${server.urlOf(project.name)}\n`);
    return now;
  } catch (error) {
    if (signal.aborted) return '';
    // The code can be mended; a key or an address that is wrong cannot, by saving a file.
    if (!(error instanceof Failure) || (isFirst && HOPELESS.has(error.exitCode))) throw error;
    print(`${error.message}\n`);
    return '';
  }
}

const HOPELESS: ReadonlySet<number> = new Set([EXIT.denied, EXIT.unreachable]);

/** Gives what was put last, once, as long as it is not told to end. */
class Newest<T extends object> implements AsyncIterable<T> {
  private readonly signal: AbortSignal;
  private value: T | undefined;
  private wake = (): void => {};

  constructor(signal: AbortSignal) {
    this.signal = signal;
    signal.addEventListener('abort', () => this.wake());
  }

  put(value: T): void {
    this.value = value;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    while (!this.signal.aborted) {
      const { value } = this;
      this.value = undefined;
      if (value !== undefined) yield value;
      else await new Promise<void>((resolve) => Object.assign(this, { wake: resolve }));
    }
  }
}
