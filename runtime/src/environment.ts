/** The pod's settings, read once from the environment that its launcher made. No other module reads `process.env`. */
import { tmpdir } from 'node:os';
import { MAX_TOKEN_CHARS } from '@simmer/protocol/limits';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';

/** What the launcher told this process. */
export interface Settings {
  /** `ws://host:port` or `wss://host:port` */
  readonly address: string;
  /** Where to dial when `address` does not answer; '' where there is nowhere. */
  readonly fallbackAddress: string;
  /** PEM of the CA of `wss:`; '' for those that Node trusts. */
  readonly ca: string;
  readonly podUid: string;
  /** The launch token: shown by the first hello, never again. */
  readonly token: string;
  /** Of the hello's proof; '' where there is none. */
  readonly poolKey: string;
  /** namespace/name */
  readonly functionKey: string;
  /** As it was given: absolute, or relative to the working directory. Undefined: the code comes over the socket. */
  readonly handler: string | undefined;
  readonly capacity: number;
  readonly graceMs: number;
  /** Folder below which code that comes as an archive is unpacked. */
  readonly scratch: string;
  readonly exitWithStdin: boolean;
  /** Modules to load before the function is known. */
  readonly preload: readonly string[];
}

/** A variable that is missing or not allowed; the message names it. */
export class EnvironmentError extends Error {}

const DEFAULT_CAPACITY = 1;
const MAX_CAPACITY = 1_000;
/** As a function's `graceMs` when its manifest says nothing. */
const DEFAULT_GRACE_MS = 1_000;
/** A day: setTimeout cannot count past 2^31 ms, and nothing should drain that long. */
const MAX_GRACE_MS = 86_400_000;

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws {EnvironmentError} */
export function readSettings(env: Environment): Settings {
  return {
    address: address(env, RUNTIME_ENV.address),
    fallbackAddress: env[RUNTIME_ENV.fallbackAddress]
      ? address(env, RUNTIME_ENV.fallbackAddress)
      : '',
    ca: env[RUNTIME_ENV.ca] ?? '',
    podUid: text(env, RUNTIME_ENV.podUid, MAX_TOKEN_CHARS),
    token: text(env, RUNTIME_ENV.token, MAX_TOKEN_CHARS),
    poolKey: env[RUNTIME_ENV.poolKey] ?? '',
    functionKey: text(env, RUNTIME_ENV.function, MAX_TOKEN_CHARS),
    handler:
      env[RUNTIME_ENV.handler] === undefined
        ? undefined
        : text(env, RUNTIME_ENV.handler, Number.POSITIVE_INFINITY),
    capacity: integer(env, RUNTIME_ENV.capacity, 1, MAX_CAPACITY, DEFAULT_CAPACITY),
    graceMs: integer(env, RUNTIME_ENV.graceMs, 0, MAX_GRACE_MS, DEFAULT_GRACE_MS),
    scratch: env[RUNTIME_ENV.scratch] || tmpdir(),
    exitWithStdin: flag(env, RUNTIME_ENV.exitWithStdin),
    preload: (env[RUNTIME_ENV.preload] ?? '').split(',').filter((name) => name !== ''),
  };
}

function text(env: Environment, name: string, maxChars: number): string {
  const value = env[name];
  if (value === undefined || value === '') throw new EnvironmentError(`${name} is not set`);
  if (value.length > maxChars) {
    throw new EnvironmentError(`${name} is longer than ${maxChars} characters`);
  }
  return value;
}

function address(env: Environment, name: string): string {
  const value = text(env, name, MAX_TOKEN_CHARS);
  if (!isAddress(value)) {
    throw new EnvironmentError(`${name} must be ws://host:port or wss://host:port, not '${value}'`);
  }
  return value;
}

/** True for what a pod can dial. */
export function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hash } = new URL(text);
  return (protocol === 'ws:' || protocol === 'wss:') && hash === '';
}

function integer(
  env: Environment,
  name: string,
  min: number,
  max: number,
  byDefault: number,
): number {
  const value = env[name];
  if (value === undefined || value === '') return byDefault;
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) {
    throw new EnvironmentError(
      `${name} must be a whole number from ${min} to ${max}, not '${value}'`,
    );
  }
  return number;
}

function flag(env: Environment, name: string): boolean {
  const value = env[name];
  if (value === undefined || value === '' || value === '0') return false;
  if (value === '1') return true;
  throw new EnvironmentError(`${name} must be 1 or 0, not '${value}'`);
}
