/** Modules that a generic pod loads before it knows its function, so that the function's own `import` finds them there. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe } from './failure.ts';

/** The message names the module. */
export class PreloadError extends Error {}

/** Each as a file in the working directory would load it. @throws {PreloadError} */
export function preload(modules: readonly string[]): void {
  if (modules.length === 0) return;
  const load = createRequire(join(process.cwd(), 'preload.js'));
  for (const name of modules) {
    try {
      load(name);
    } catch (error) {
      // The rest is a stack of requires: the last line of all is what the pool's status shows.
      const [why] = describe(error).split('\n');
      throw new PreloadError(`the module ${name} (spec.preload) does not load: ${why}`);
    }
  }
}
