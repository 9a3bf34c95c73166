/**
 * The table of all options: the one place that names them, says what is allowed and what holds by default. `--help`,
 * docs/configuration.md, the three spellings and the checks are all made from it.
 */
import { isIP } from 'node:net';
import { allowedTargetOf } from '../shared/callback-targets.ts';
import type { Config } from './config.ts';

/** Where an option can be set, strongest first. */
export const SOURCES = ['flag', 'environment', 'file', 'default'] as const;

const KIB = 1_024;
const MIB = 1_024 * KIB;
const GIB = 1_024 * MIB;
const DAY_MS = 86_400_000;
/** Node's own limit on a header block is configurable up to this; above it one request could hold megabytes. */
const MAX_HEADER_BYTES = 1 * MIB;

/** How an option's text becomes its value. `parse` returns undefined for what is not allowed. */
interface OptionType<T> {
  /** Stands after `--name` in the help. */
  readonly placeholder: string;
  /** Completes "must be ...". */
  readonly allowed: string;
  parse(text: string): T | undefined;
  /** A value as a user would write it. */
  show(value: T): string;
}

export interface Option<K extends keyof Config = keyof Config> {
  /** Kebab case: the key of the configuration file and, behind `--`, the flag. */
  readonly name: string;
  readonly key: K;
  readonly type: OptionType<Config[K]>;
  readonly default: Config[K];
  readonly description: string;
}

const HOST_NAME =
  /^(?=.{1,253}$)[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$/;
const ALL_NUMERIC = /^[0-9.]+$/;

const host: OptionType<string> = {
  placeholder: 'HOST',
  allowed: 'an IP address or a host name',
  // 1.2.3 or 999.1.1.1 reads as a host name, but is a mistyped address.
  parse: (text) =>
    isIP(text) !== 0 || (HOST_NAME.test(text) && !ALL_NUMERIC.test(text)) ? text : undefined,
  show: (value) => value,
};

function integer(minimum: number, maximum: number, what: string): OptionType<number> {
  return {
    placeholder: 'N',
    allowed: `${what} from ${minimum} to ${maximum}`,
    parse(text) {
      if (!/^\d{1,15}$/.test(text)) return undefined;
      const value = Number(text);
      return value >= minimum && value <= maximum ? value : undefined;
    },
    show: String,
  };
}

const port: OptionType<number> = {
  ...integer(0, 65_535, 'a port'),
  placeholder: 'PORT',
  allowed: 'a port from 0 to 65535 (0: any free one)',
};

const UNITS = new Map([
  ['', 1],
  ['B', 1],
  ['KiB', KIB],
  ['MiB', MIB],
  ['GiB', GIB],
]);

function bytes(minimum: number, maximum: number): OptionType<number> {
  const type: OptionType<number> = {
    placeholder: 'SIZE',
    allowed: '',
    parse(text) {
      const match = /^(\d{1,15}) ?(B|KiB|MiB|GiB|)$/.exec(text);
      if (match === null) return undefined;
      const value = Number(match[1]) * (UNITS.get(match[2] as string) as number);
      return value >= minimum && value <= maximum ? value : undefined;
    },
    show(value) {
      for (const [unit, size] of [...UNITS].reverse()) {
        if (size > 1 && value >= size && value % size === 0) return `${value / size}${unit}`;
      }
      return String(value);
    },
  };
  const allowed = `bytes from ${type.show(minimum)} to ${type.show(maximum)}, as 1048576, 1024KiB, 1MiB or 1GiB`;
  return { ...type, allowed };
}

const milliseconds = (minimum: number, maximum: number): OptionType<number> => ({
  ...integer(minimum, maximum, 'milliseconds'),
  placeholder: 'MS',
});

const flag: OptionType<boolean> = {
  placeholder: '',
  allowed: 'true or false',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  show: String,
};

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const logLevel: OptionType<Config['logLevel']> = {
  placeholder: 'LEVEL',
  allowed: `one of ${LOG_LEVELS.join(', ')}`,
  parse: (text) => LOG_LEVELS.find((level) => level === text),
  show: String,
};

const folder: OptionType<string> = {
  placeholder: 'FOLDER',
  allowed: 'a path',
  parse: (text) => (text === '' || text.includes('\0') ? undefined : text),
  show: String,
};

/** Names separated by commas, at least one. */
function list<T extends string>(
  allowed: string,
  one: (text: string) => text is T,
): OptionType<readonly T[]> {
  return {
    placeholder: 'A,B',
    allowed,
    parse(text) {
      const names = text.split(',').map((name) => name.trim());
      return names.every(one) && new Set(names).size === names.length ? names : undefined;
    },
    show: (names) => names.join(','),
  };
}

const BACKENDS = ['process', 'kubernetes'] as const;
const backends = list(
  `process, kubernetes, or both separated by a comma`,
  (text): text is Config['backends'][number] => BACKENDS.some((name) => name === text),
);

const origins = list(
  'origins (https://example.org) separated by commas, or *',
  (text): text is string => text === '*' || /^[a-z][a-z0-9+.-]*:\/\/[^\s/,A-Z]+$/.test(text),
);

/** RFC 1123. */
const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const namespaces = list('names of namespaces, separated by commas', (text): text is string =>
  NAMESPACE.test(text),
);

const REGISTRIES = ['folder', 'kubernetes'] as const;
const registry: OptionType<Config['registry']> = {
  placeholder: 'KIND',
  allowed: `one of ${REGISTRIES.join(', ')}`,
  parse: (text) => REGISTRIES.find((kind) => kind === text),
  show: String,
};

const text = (placeholder: string, allowed: string, pattern: RegExp): OptionType<string> => ({
  placeholder,
  allowed,
  parse: (value) => (pattern.test(value) ? value : undefined),
  show: String,
});

/** A pod's name: RFC 1123 subdomain. */
const podName = text('NAME', 'the name of a pod', /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/);
const imageName = text('IMAGE', 'the name of an image', /^[a-zA-Z0-9][\w./:@-]{0,510}$/);
const podUrl = text('URL', 'ws://host:port or wss://host:port', /^wss?:\/\/[^\s/]+:\d{1,5}$/);

const option = <K extends keyof Config>(
  name: string,
  key: K,
  type: OptionType<Config[K]>,
  byDefault: Config[K],
  description: string,
): Option => ({ name, key, type, default: byDefault, description }) as unknown as Option;

export const OPTIONS: readonly Option[] = [
  option(
    'host',
    'host',
    host,
    '127.0.0.1',
    'Address that clients connect to. Beyond loopback it needs `api-keys`, `jwt-issuer` or `allow-anonymous`.',
  ),
  option('port', 'port', port, 8080, 'Port that clients connect to.'),
  option(
    'management-host',
    'managementHost',
    host,
    '127.0.0.1',
    'Address of the management port: health and metrics. Beyond loopback it needs `api-keys`, `jwt-issuer` or `allow-anonymous`; where there are keys it asks for one with the scope `read`, save for its probes.',
  ),
  option(
    'management-port',
    'managementPort',
    port,
    8081,
    'Port of `/healthz`, `/readyz` and `/metrics`.',
  ),
  option('pod-host', 'podHost', host, '127.0.0.1', 'Address that pods dial.'),
  option('pod-port', 'podPort', port, 8082, 'Port that pods dial.'),
  option(
    'functions',
    'functions',
    folder,
    './functions',
    'Folder of function manifests. In the configuration file it is relative to that file.',
  ),
  option(
    'registry',
    'registry',
    registry,
    'folder',
    'Where functions are read from: the folder `functions`, or the Kubernetes API.',
  ),
  option(
    'backends',
    'backends',
    backends,
    ['process'],
    'What launches pods; the first is the default of functions that name none.',
  ),
  option(
    'namespaces',
    'namespaces',
    namespaces,
    ['default'],
    'Kubernetes: namespaces whose functions are served.',
  ),
  option(
    'instance',
    'instance',
    podName,
    '',
    'Kubernetes: name of the pod that this control plane runs in. With it several elect a leader; without, this is the only one.',
  ),
  option(
    'instance-namespace',
    'instanceNamespace',
    text('NAME', 'the name of a namespace', NAMESPACE),
    'simmer-system',
    "Kubernetes: namespace of the control plane's own Lease and Secret.",
  ),
  option(
    'pod-address',
    'podAddress',
    podUrl,
    '',
    'Address that pods are told to dial. By default the one that the pod port is bound to.',
  ),
  option(
    'pod-service',
    'podService',
    podUrl,
    '',
    'Kubernetes: address that pods dial when `pod-address` answers no more: a Service that leads to the leader.',
  ),
  option(
    'pod-plain',
    'podPlain',
    flag,
    false,
    'Kubernetes: let pods connect without TLS. For measuring what TLS costs, and for meshes that encrypt by themselves.',
  ),
  option(
    'pod-tls-secret',
    'podTlsSecret',
    text('NAME', 'the name of a Secret', /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/),
    '',
    'Kubernetes: Secret of type kubernetes.io/tls, in `instance-namespace`, with the certificate of the pod port and its CA, as cert-manager makes it. By default the control plane makes its own CA.',
  ),
  option(
    'runtime-image',
    'runtimeImage',
    imageName,
    'localhost/simmer/runtime:dev',
    'Kubernetes: image of functions that are given as source.',
  ),
  option(
    'allow-anonymous',
    'allowAnonymous',
    flag,
    false,
    'Serve clients beyond loopback although nobody is authenticated. With keys it changes nothing: they are asked for.',
  ),
  option(
    'tls-cert',
    'tlsCert',
    { ...folder, placeholder: 'FILE' },
    '',
    'Certificate of the port that clients connect to (PEM, the chain after the leaf): it speaks TLS then. Read again when it changes; open connections go on.',
  ),
  option(
    'tls-key',
    'tlsKey',
    { ...folder, placeholder: 'FILE' },
    '',
    'Private key of `tls-cert` (PEM, without a passphrase).',
  ),
  option(
    'cors-origins',
    'corsOrigins',
    origins,
    [],
    'Origins of web pages that may read answers (CORS), or `*`. Preflights are answered for raw calls, too, and the headers of handlers that say the same are replaced.',
  ),
  option(
    'api-keys',
    'apiKeys',
    { ...folder, placeholder: 'PATH' },
    '',
    'File of API keys, or a folder of such files (the mount of a Secret). Read again when it changes. With it every caller needs a key.',
  ),
  option(
    'api-keys-secret',
    'apiKeysSecret',
    text('NAME', 'the name of a Secret', /^[a-z0-9]([-a-z0-9.]{0,240}[a-z0-9])?$/),
    '',
    'Kubernetes: Secret of API keys in `instance-namespace`, in place of `api-keys`. Where there is none the leader makes it, and puts the text of a first key into the Secret `NAME-first-key`.',
  ),
  option(
    'jwt-issuer',
    'jwtIssuer',
    text('URL', 'an http or https URL', /^https?:\/\/[^\s?#]+$/),
    '',
    'Issuer of JWTs (OpenID Connect) that callers may show in place of an API key: what stands in their `iss`.',
  ),
  option(
    'jwt-audience',
    'jwtAudience',
    text('TEXT', 'one word', /^\S+$/),
    '',
    'What must stand in the `aud` of a JWT.',
  ),
  option(
    'jwt-jwks',
    'jwtJwks',
    text('URL|FILE', 'an http or https URL, or a path', /^(https?:\/\/\S+|(?!https?:)[^\0]+)$/),
    '',
    "The issuer's public keys (JWKS): a URL or a file. By default where the issuer's `/.well-known/openid-configuration` says.",
  ),
  option(
    'jwt-scopes-claim',
    'jwtScopesClaim',
    text('NAME', 'the name of a claim', /^\S+$/),
    'scope',
    'Claim with the scopes of a JWT: `invoke`, `read`, `write` (also as `simmer:invoke` and so on), in a list or a text with spaces; others are left alone. `a.b` is `b` within `a`.',
  ),
  option(
    'jwt-functions-claim',
    'jwtFunctionsClaim',
    text('NAME', 'the name of a claim', /^\S+$/),
    '',
    'Claim with the function patterns of a JWT (`namespace/name`, `*` for any characters), in a list or a text with spaces; a token without it may call none. By default every function.',
  ),
  option('log-level', 'logLevel', logLevel, 'info', 'Log lines of at least this level.'),
  option(
    'heartbeat-ms',
    'heartbeatMs',
    milliseconds(100, 60_000),
    2_000,
    'Time between pings of a pod. An idle pod that answers none for two of them is lost.',
  ),
  option(
    'stream-heartbeat-ms',
    'streamHeartbeatMs',
    milliseconds(100, 600_000),
    20_000,
    "Time between pings of a client's WebSocket. One on which nothing moved for two of them is closed.",
  ),
  option(
    'max-queued-bytes',
    'maxQueuedBytes',
    bytes(MIB, 1_024 * GIB),
    GIB,
    'Request bodies held for all functions together; beyond it requests get 429 `overloaded`.',
  ),
  option(
    'executions-max',
    'executionsMax',
    integer(1, 10_000_000, 'executions'),
    10_000,
    'Asynchronous executions that are kept, those that have ended included.',
  ),
  option(
    'executions-max-bytes',
    'executionsMaxBytes',
    bytes(MIB, 1_024 * GIB),
    256 * MIB,
    'Memory for the asynchronous executions that are kept, with their requests and results.',
  ),
  option(
    'executions-max-age-ms',
    'executionsMaxAgeMs',
    milliseconds(1_000, 30 * DAY_MS),
    3_600_000,
    'How long an execution is kept after its end.',
  ),
  option(
    'executions-sync-max',
    'executionsSyncMax',
    integer(1, 200_000, 'executions'),
    10_000,
    'Synchronous executions that have ended of which is remembered how: 72 bytes each.',
  ),
  option(
    'idempotency-keys-max',
    'idempotencyKeysMax',
    integer(1, 10_000_000, 'keys'),
    100_000,
    'Idempotency keys that are kept, those whose call has ended included.',
  ),
  option(
    'idempotency-keys-max-bytes',
    'idempotencyKeysMaxBytes',
    bytes(MIB, 1_024 * GIB),
    128 * MIB,
    'Memory for the idempotency keys that are kept, with their answers.',
  ),
  option(
    'idempotency-keys-max-age-ms',
    'idempotencyKeysMaxAgeMs',
    milliseconds(1_000, 30 * DAY_MS),
    DAY_MS,
    'How long an idempotency key is kept after its call has ended.',
  ),
  option(
    'callback-secret',
    'callbackSecret',
    text('FILE', 'the path of a file', /^[^\0]+$/),
    '',
    'File of at least 32 random bytes that the keys are derived from which sign callbacks. By default a random secret for as long as this process runs; on Kubernetes one that the control plane keeps in its Secret.',
  ),
  option(
    'callback-allow',
    'callbackAllow',
    list(
      'host names, IP addresses or networks (10.0.0.0/8), separated by commas',
      (text): text is string => allowedTargetOf(text) !== undefined,
    ),
    [],
    'Where callbacks may go although it is this machine, or a link-local, multicast or metadata address.',
  ),
  option(
    'callback-attempts',
    'callbackAttempts',
    integer(1, 100, 'attempts'),
    12,
    'Attempts to deliver a callback, the first included.',
  ),
  option(
    'callback-timeout-ms',
    'callbackTimeoutMs',
    milliseconds(10, 300_000),
    10_000,
    'Time that a receiver of callbacks has to answer.',
  ),
  option(
    'callback-max-age-ms',
    'callbackMaxAgeMs',
    milliseconds(100, 7 * DAY_MS),
    3_600_000,
    'Time for all attempts of a callback.',
  ),
  option(
    'callbacks-max',
    'callbacksMax',
    integer(1, 10_000_000, 'callbacks'),
    10_000,
    'Callbacks that may be pending; for one more, one of the function that has the most becomes a dead letter.',
  ),
  option(
    'callbacks-max-bytes',
    'callbacksMaxBytes',
    bytes(MIB, 1_024 * GIB),
    64 * MIB,
    'Memory for the bodies of pending callbacks; what is over it becomes dead letters in the same way.',
  ),
  option(
    'execution-log-bytes',
    'executionLogBytes',
    bytes(0, 16 * MIB),
    16 * KIB,
    'What is kept of the lines that a handler prints in one attempt; 0 keeps none.',
  ),
  option(
    'execution-logs-max-bytes',
    'executionLogsMaxBytes',
    bytes(64 * KIB, 1_024 * GIB),
    64 * MIB,
    'Memory for the printed lines of asynchronous executions. The oldest make way.',
  ),
  option(
    'execution-logs-sync-max-bytes',
    'executionLogsSyncMaxBytes',
    bytes(64 * KIB, 1_024 * GIB),
    8 * MIB,
    'Memory for the printed lines of synchronous calls. The oldest make way.',
  ),
  option(
    'dead-letters-max',
    'deadLettersMax',
    integer(1, 1_000_000, 'letters'),
    1_000,
    'Dead letters of each function that are kept; the oldest make room.',
  ),
  option(
    'dead-letters-max-bytes',
    'deadLettersMaxBytes',
    bytes(MIB, 1_024 * GIB),
    32 * MIB,
    'Memory for the dead letters of each function, with their requests.',
  ),
  option(
    'dead-letters-total-bytes',
    'deadLettersTotalBytes',
    bytes(MIB, 1_024 * GIB),
    256 * MIB,
    'Memory for the dead letters of all functions.',
  ),
  option(
    'code-store',
    'codeStore',
    folder,
    '',
    'Folder that keeps uploaded code; it must survive a restart. By default `.simmer/code` in the folder `functions`; with the registry `kubernetes` ConfigMaps in `instance-namespace`, at most 256 MiB.',
  ),
  option(
    'code-store-max-bytes',
    'codeStoreMaxBytes',
    bytes(MIB, 1_024 * GIB),
    GIB,
    'Size of the store of uploaded code. What no function names goes first, the longest unused before others.',
  ),
  option(
    'max-bundle-bytes',
    'maxBundleBytes',
    bytes(KIB, 256 * MIB),
    50 * MIB,
    "Largest code of a function that is uploaded or read from a folder, as it is sent to its pods. It is held in memory while the function's manifest names it.",
  ),
  option(
    'max-timeout-ms',
    'maxTimeoutMs',
    milliseconds(1, DAY_MS),
    900_000,
    'Largest `X-Timeout-Ms` that a request may ask for.',
  ),
  option(
    'max-header-bytes',
    'maxHeaderBytes',
    bytes(KIB, MAX_HEADER_BYTES),
    16_384,
    'Longest header block of a request; a longer one gets 431.',
  ),
  option(
    'shutdown-grace-ms',
    'shutdownGraceMs',
    milliseconds(0, 3_600_000),
    10_000,
    'Time that queued and running work gets on SIGTERM.',
  ),
  option(
    'metrics-functions',
    'metricsFunctions',
    integer(0, 100_000, 'functions'),
    2_000,
    'Functions with metrics of their own; those past it share `function="other"`.',
  ),
  option(
    'max-concurrent-launches',
    'maxConcurrentLaunches',
    integer(1, 10_000, 'pods'),
    8,
    'Processes that may be starting at once; the other launches wait their turn.',
  ),
  option(
    'max-concurrent-pod-launches',
    'maxConcurrentPodLaunches',
    integer(1, 10_000, 'pods'),
    100,
    'Pods of the Kubernetes backend that may be starting at once.',
  ),
  option(
    'namespace-idle-bytes',
    'namespaceIdleBytes',
    bytes(0, 1_024 * GIB),
    0,
    "Memory that pods of a namespace's idle functions may hold, over their minimum; beyond it those go that are worth least, by how often they are called and what a cold start of theirs costs. 0: no bound.",
  ),
  option(
    'max-jobs',
    'maxJobs',
    integer(0, 100_000, 'pods'),
    64,
    'One-shot pods (Jobs) of all functions together.',
  ),
];

/** Flags and variables that are no option of the configuration file. */
export const CONFIG_FILE_OPTION = 'config';
export const COMMANDS = [
  { name: 'help', description: 'Show this list and exit.' },
  { name: 'version', description: 'Show the version and exit.' },
] as const;

/** `management-port` -> `SIMMER_MANAGEMENT_PORT` */
export function environmentName(optionName: string): string {
  return `SIMMER_${optionName.toUpperCase().replaceAll('-', '_')}`;
}

/** What a user most likely meant: within two edits, or undefined. */
export function nearMiss(name: string, known: Iterable<string>): string | undefined {
  const MAX_EDITS = 2;
  let best: string | undefined;
  let bestEdits = MAX_EDITS + 1;
  for (const candidate of known) {
    const edits = editDistance(name, candidate);
    if (edits < bestEdits) [best, bestEdits] = [candidate, edits];
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substituted));
    }
    row = next;
  }
  return row[b.length] as number;
}
