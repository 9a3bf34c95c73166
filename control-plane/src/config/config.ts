/**
 * The platform's settings, resolved once at the start into one typed object: flag over environment over file over
 * default. Nothing else reads the environment, save environment.ts for what children inherit.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parse as parseYaml } from 'yaml';
import { renderHelp } from './document.ts';
import { CONFIG_FILE_OPTION, environmentName, nearMiss, OPTIONS, type Option } from './options.ts';

/** The platform's settings, resolved once (flag over environment over file over default); see options.ts for each one's meaning. */
export interface Config {
  readonly host: string;
  readonly port: number;
  readonly managementHost: string;
  readonly managementPort: number;
  readonly podHost: string;
  readonly podPort: number;
  /** Absolute path of the folder of manifests. */
  readonly functions: string;
  readonly registry: 'folder' | 'kubernetes';
  /** At least one; the first is the default. */
  readonly backends: readonly ('process' | 'kubernetes')[];
  readonly namespaces: readonly string[];
  /** '' : no others, no election. */
  readonly instance: string;
  readonly instanceNamespace: string;
  /** '' : from what was bound. */
  readonly podAddress: string;
  /** '' : none. */
  readonly podService: string;
  readonly podPlain: boolean;
  /** '' : a CA of our own. */
  readonly podTlsSecret: string;
  readonly runtimeImage: string;
  readonly allowAnonymous: boolean;
  /** Absolute paths of PEM files; both '' : plain HTTP. */
  readonly tlsCert: string;
  readonly tlsKey: string;
  /** Of pages that may read answers. */
  readonly corsOrigins: readonly string[];
  /** Absolute path of a file or folder of API keys; '' : none. */
  readonly apiKeys: string;
  /** Name of a Secret of `instanceNamespace`; '' : none. */
  readonly apiKeysSecret: string;
  /** '' : no JWTs. */
  readonly jwtIssuer: string;
  readonly jwtAudience: string;
  /** URL, or absolute path of a file; '' : by the issuer's discovery document. */
  readonly jwtJwks: string;
  /** Names of claims. */
  readonly jwtScopesClaim: string;
  /** '' : a token may call every function. */
  readonly jwtFunctionsClaim: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Milliseconds between pings of a pod. */
  readonly heartbeatMs: number;
  /** Milliseconds between pings of a client's WebSocket. */
  readonly streamHeartbeatMs: number;
  /** Bytes of request bodies held for all functions together. */
  readonly maxQueuedBytes: number;
  /** Asynchronous executions kept: their number, bytes, and milliseconds after the end. */
  readonly executionsMax: number;
  readonly executionsMaxBytes: number;
  readonly executionsMaxAgeMs: number;
  /** Synchronous executions of which is remembered how they ended. */
  readonly executionsSyncMax: number;
  /** Idempotency keys kept: their number, bytes, and milliseconds after the end. */
  readonly idempotencyKeysMax: number;
  readonly idempotencyKeysMaxBytes: number;
  readonly idempotencyKeysMaxAgeMs: number;
  /** Path of a file; '' : a random secret, or on Kubernetes that of the control plane. */
  readonly callbackSecret: string;
  /** Host names, addresses and networks that callbacks may go to although they would not. */
  readonly callbackAllow: readonly string[];
  /** Of one callback: attempts, milliseconds for each, milliseconds for all. */
  readonly callbackAttempts: number;
  readonly callbackTimeoutMs: number;
  readonly callbackMaxAgeMs: number;
  /** Callbacks pending: their number and bytes. */
  readonly callbacksMax: number;
  readonly callbacksMaxBytes: number;
  /** What handlers printed: bytes of one attempt, of all asynchronous executions, of all synchronous ones. */
  readonly executionLogBytes: number;
  readonly executionLogsMaxBytes: number;
  readonly executionLogsSyncMaxBytes: number;
  /** Dead letters kept: number and bytes of one function's, bytes of all. */
  readonly deadLettersMax: number;
  readonly deadLettersMaxBytes: number;
  readonly deadLettersTotalBytes: number;
  /** Absolute path of the folder of uploaded code; '' : by the registry (codeStoreOf). */
  readonly codeStore: string;
  readonly codeStoreMaxBytes: number;
  /** Largest code of one function. */
  readonly maxBundleBytes: number;
  /** Largest X-Timeout-Ms. */
  readonly maxTimeoutMs: number;
  /** Longest header block of a request. */
  readonly maxHeaderBytes: number;
  /** Time that running and queued work gets on SIGTERM. */
  readonly shutdownGraceMs: number;
  /** Functions with metrics of their own; the rest share `function="other"`. */
  readonly metricsFunctions: number;
  /** Processes that may be starting at once. */
  readonly maxConcurrentLaunches: number;
  /** Pods of the Kubernetes backend that may be starting at once. */
  readonly maxConcurrentPodLaunches: number;
  /** Memory that idle pods of one namespace may hold; 0: no bound. */
  readonly namespaceIdleBytes: number;
  /** One-shot pods of all functions together. */
  readonly maxJobs: number;
}

/** What a start is to do: run with a configuration, print a text and exit 0, or print a message and exit non-zero. */
export type Resolution =
  | { readonly kind: 'config'; readonly config: Config }
  | { readonly kind: 'help' | 'version'; readonly text: string }
  | { readonly kind: 'error'; readonly message: string };

/** A setting as it was found, before it is checked. `spelling` is how the user wrote its name. */
interface Given {
  readonly spelling: string;
  readonly text: string;
  /** Folder that relative paths start from. */
  readonly folder: string;
}

class OptionError extends Error {}

/** Paths, made absolute from where they were given. */
const PATHS: ReadonlySet<keyof Config> = new Set([
  ...(['functions', 'codeStore', 'apiKeys', 'jwtJwks', 'tlsCert', 'tlsKey'] as const),
]);

const BY_NAME = new Map(OPTIONS.map((o) => [o.name, o]));
const BY_VARIABLE = new Map(OPTIONS.map((o) => [environmentName(o.name), o]));
const isSwitch = (o: Option) => typeof o.default === 'boolean';

/**
 * Resolves the options. Never throws.
 * @param argv without the interpreter and the script
 * @param readFile reads the configuration file; throws as `readFileSync` does
 * @param cwd folder that relative paths of flags, environment and defaults start from
 */
export function resolveConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  readFile: (path: string) => string = (path) => readFileSync(path, 'utf8'),
  cwd: string = process.cwd(),
): Resolution {
  try {
    const flags = readFlags(argv, cwd);
    if (flags.command === 'help') return { kind: 'help', text: renderHelp() };
    if (flags.command === 'version') return { kind: 'version', text: `${version()}\n` };
    const variables = readEnvironment(env, cwd);
    const path = flags.configFile ?? env[environmentName(CONFIG_FILE_OPTION)];
    const file = path ? readConfigFile(resolve(cwd, path), readFile) : new Map<string, Given>();

    const config = Object.fromEntries(
      OPTIONS.map((option) => {
        const given =
          flags.given.get(option.name) ?? variables.get(option.name) ?? file.get(option.name);
        return [option.key, settingOf(option, given, cwd)];
      }),
    ) as unknown as Config;
    checkTogether(config);
    return { kind: 'config', config };
  } catch (error) {
    if (error instanceof OptionError) return { kind: 'error', message: error.message };
    throw error;
  }
}

function readFlags(argv: readonly string[], cwd: string) {
  const given = new Map<string, Given>();
  let configFile: string | undefined;
  let command: 'help' | 'version' | undefined;
  const { tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: {
      ...Object.fromEntries(
        OPTIONS.map((o) => [
          o.name,
          { type: isSwitch(o) ? ('boolean' as const) : ('string' as const) },
        ]),
      ),
      [CONFIG_FILE_OPTION]: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean' },
    },
  });
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      throw new OptionError(
        `unexpected argument ${JSON.stringify(token.value)}: options begin with --`,
      );
    }
    const { name, rawName, inlineValue } = token;
    // No value begins with a dash: the option's own was left out, and the next option read in its place.
    const value = !inlineValue && token.value?.startsWith('-') ? undefined : token.value;
    if (name === 'help' || name === 'version') {
      command ??= name;
      continue;
    }
    const negated = name.startsWith('no-') ? BY_NAME.get(name.slice(3)) : undefined;
    const option = BY_NAME.get(name);
    if (negated && isSwitch(negated) && value === undefined) {
      given.set(negated.name, { spelling: rawName, text: 'false', folder: cwd });
    } else if (option && isSwitch(option)) {
      given.set(name, { spelling: rawName, text: value ?? 'true', folder: cwd });
    } else if (option === undefined && name !== CONFIG_FILE_OPTION) {
      const known = [...BY_NAME.keys(), CONFIG_FILE_OPTION, 'help', 'version'];
      throw new OptionError(
        `unknown option ${rawName}${suggest(name, known, '--')}; --help lists all`,
      );
    } else if (value === undefined) {
      const allowed = option ? option.type.allowed : 'the path of a file';
      throw new OptionError(`${rawName} needs a value: ${allowed}`);
    } else if (option === undefined) {
      configFile = value;
    } else {
      given.set(name, { spelling: rawName, text: value, folder: cwd });
    }
  }
  return { given, configFile, command };
}

function readEnvironment(env: Readonly<Record<string, string | undefined>>, cwd: string) {
  const given = new Map<string, Given>();
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('SIMMER_') || text === undefined || text === '') continue;
    const option = BY_VARIABLE.get(name);
    if (option) {
      given.set(option.name, { spelling: name, text, folder: cwd });
    } else if (name !== environmentName(CONFIG_FILE_OPTION)) {
      // Others may own SIMMER_ variables too (Kubernetes makes SIMMER_SERVICE_HOST): only a likely slip stops the start.
      const hint = suggest(name, BY_VARIABLE.keys(), '');
      if (hint !== '') throw new OptionError(`unknown option ${name} in the environment${hint}`);
    }
  }
  return given;
}

function readConfigFile(path: string, readFile: (path: string) => string): Map<string, Given> {
  let content: unknown;
  try {
    content = parseYaml(readFile(path));
  } catch (error) {
    throw new OptionError(
      `${CONFIG_FILE_OPTION}: cannot read ${path}: ${(error as Error).message}`,
    );
  }
  if (content === null || content === undefined) return new Map();
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new OptionError(`${CONFIG_FILE_OPTION}: ${path} must hold option names and their values`);
  }
  const given = new Map<string, Given>();
  for (const [name, value] of Object.entries(content)) {
    const spelling = `${name} in ${path}`;
    if (!BY_NAME.has(name)) {
      throw new OptionError(`unknown option ${spelling}${suggest(name, BY_NAME.keys(), '')}`);
    }
    const isScalar = ['string', 'number', 'boolean'].includes(typeof value);
    given.set(name, {
      spelling,
      text: isScalar ? String(value) : JSON.stringify(value),
      folder: dirname(path),
    });
  }
  return given;
}

function settingOf(option: Option, given: Given | undefined, cwd: string): Config[keyof Config] {
  if (given === undefined) {
    const isPath = PATHS.has(option.key) && option.default !== '';
    return isPath ? resolve(cwd, option.default as string) : option.default;
  }
  const value = option.type.parse(given.text);
  if (value === undefined) {
    const link = given.text.startsWith('tcp://')
      ? ' (a Kubernetes service link: set enableServiceLinks: false on the pod)'
      : '';
    throw new OptionError(
      `${given.spelling}: ${JSON.stringify(given.text)} is not allowed${link}; it must be ${option.type.allowed}`,
    );
  }
  const isPath = PATHS.has(option.key) && !/^https?:/.test(value as string);
  return isPath ? resolve(given.folder, value as string) : value;
}

/** Rules between options. */
function checkTogether(config: Config): void {
  for (const [name, host] of [
    ['host', config.host],
    ['management-host', config.managementHost],
  ] as const) {
    if (asksWhoCalls(config) || config.allowAnonymous || isLoopback(host)) continue;
    throw new OptionError(
      `${name}: ${JSON.stringify(host)}: a bind beyond loopback needs API keys (--api-keys) or JWTs (--jwt-issuer), or --allow-anonymous`,
    );
  }
  if (config.apiKeysSecret !== '') {
    if (config.registry !== 'kubernetes' && !config.backends.includes('kubernetes')) {
      throw new OptionError('api-keys-secret: it needs the kubernetes registry or backend');
    }
    if (config.apiKeys !== '')
      throw new OptionError('api-keys and api-keys-secret: one of the two');
  }
  if ((config.tlsCert === '') !== (config.tlsKey === '')) {
    throw new OptionError('tls-cert and tls-key: one needs the other');
  }
  if (config.jwtIssuer !== '' && config.jwtAudience === '') {
    throw new OptionError(
      'jwt-audience: jwt-issuer needs it: a token for another service must not hold here',
    );
  }
  if (config.jwtIssuer === '' && (config.jwtAudience !== '' || config.jwtJwks !== '')) {
    throw new OptionError('jwt-issuer: jwt-audience and jwt-jwks need it');
  }
  if (config.backends.includes('kubernetes')) {
    if (config.podAddress === '') {
      throw new OptionError('pod-address: the kubernetes backend needs it: wss://host:port');
    }
    const scheme = config.podPlain ? 'ws:' : 'wss:';
    for (const [name, url] of [
      ['pod-address', config.podAddress],
      ['pod-service', config.podService],
    ] as const) {
      if (url === '' || (url.startsWith(`${scheme}//`) && URL.canParse(url))) continue;
      const why = config.podPlain ? 'with pod-plain' : 'unless pod-plain is set';
      throw new OptionError(`${name}: ${url} must be a URL that begins with ${scheme}// ${why}`);
    }
  }
  const ports = new Map<string, string>();
  for (const [name, host, port] of [
    ['port', config.host, config.port],
    ['management-port', config.managementHost, config.managementPort],
    ['pod-port', config.podHost, config.podPort],
  ] as const) {
    const address = `${host}:${port}`;
    const other = ports.get(address);
    if (port !== 0 && other !== undefined) {
      throw new OptionError(`${name}: ${port} is not allowed; it must differ from ${other}`);
    }
    ports.set(address, name);
  }
}

/** The folder of uploaded code; '' where there is none. */
export function codeStoreOf(config: Pick<Config, 'codeStore' | 'functions' | 'registry'>): string {
  if (config.codeStore !== '' || config.registry !== 'folder') return config.codeStore;
  // Where no manifests are looked for.
  return join(config.functions, '.simmer', 'code');
}

/** Whether callers have to show who they are. */
export function asksWhoCalls(
  config: Pick<Config, 'apiKeys' | 'apiKeysSecret' | 'jwtIssuer'>,
): boolean {
  return config.apiKeys !== '' || config.apiKeysSecret !== '' || config.jwtIssuer !== '';
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function suggest(name: string, known: Iterable<string>, prefix: string): string {
  const meant = nearMiss(name, known);
  return meant === undefined ? '' : `: did you mean ${prefix}${meant}?`;
}

/** This package's version. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
