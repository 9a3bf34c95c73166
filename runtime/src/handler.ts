/** Finds and loads the user's module, and picks its handlers from what it exports. */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Context } from './context.ts';

/** `export default async (input, ctx) => output` */
export type ValueHandler = (input: unknown, ctx: Context) => unknown;
/** `export const fetch = async (request, ctx) => Response` */
export type FetchHandler = (request: Request, ctx: Context) => unknown;

/** What a module exports; at least one of the two. */
export interface Handlers {
  readonly value: ValueHandler | undefined;
  readonly fetch: FetchHandler | undefined;
}

/** Why a module gives no handler; the message is for the function's author. */
export class HandlerError extends Error {}

/**
 * Loads `file` (ESM, CommonJS, TypeScript where Node strips types).
 *
 * `require` first: it loads ES modules too, at once and without starting the asynchronous loader (2.6 ms). A module
 * with a top-level await is refused by it before any of it ran, and goes through `import`.
 *
 * @throws {HandlerError} when the module exports no handler; otherwise whatever loading it threw.
 */
export async function loadHandlers(file: string): Promise<Handlers> {
  const path = resolve(file);
  let exported: unknown;
  try {
    exported = createRequire(path)(path);
  } catch (error) {
    if ((error as { code?: unknown } | null)?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    exported = await import(pathToFileURL(path).href);
  }
  const handlers = pick(exported);
  if (handlers.value === undefined && handlers.fetch === undefined) {
    throw new HandlerError(
      `${file} exports no handler: it needs a default export that is a function, or an export named fetch`,
    );
  }
  return handlers;
}

/** `module.exports = fn`, `exports.default`, `exports.fetch`, and `export default { fetch }`. */
function pick(exported: unknown): Handlers {
  const named = exported as { default?: unknown; fetch?: unknown } | null | undefined;
  const main = typeof exported === 'function' ? exported : named?.default;
  const fetch = functionOf(named?.fetch) ?? methodOf(main, 'fetch');
  // A CommonJS module compiled from ESM that comes through `import` has its own default one level down.
  const value =
    functionOf(main) ?? functionOf((main as { default?: unknown } | undefined)?.default);
  return { value: value as ValueHandler | undefined, fetch: fetch as FetchHandler | undefined };
}

function functionOf(value: unknown): ((...args: never[]) => unknown) | undefined {
  return typeof value === 'function' ? (value as (...args: never[]) => unknown) : undefined;
}

function methodOf(holder: unknown, name: string): ((...args: never[]) => unknown) | undefined {
  if (typeof holder !== 'object' || holder === null) return undefined;
  const method = functionOf((holder as Record<string, unknown>)[name]);
  return method?.bind(holder) as ((...args: never[]) => unknown) | undefined;
}
