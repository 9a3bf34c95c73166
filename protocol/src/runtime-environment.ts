/** The environment through which a backend tells a runtime who it is: names, and what each holds. */
export const RUNTIME_ENV = {
  /** `ws://host:port` or `wss://host:port` of the pod port. */
  address: 'SIMMER_ADDRESS',
  /** Another address that leads to the control plane (its Service), for when the first does not answer. */
  fallbackAddress: 'SIMMER_FALLBACK_ADDRESS',
  /** The pod's identity. */
  podUid: 'SIMMER_POD_UID',
  /** PEM of the CA that signed the control plane's certificate, for `wss:`; the name it is checked against is POD_TLS_NAME. */
  ca: 'SIMMER_CA',
  /** The key of the pod's pool, with which the first hello's proof is made (docs/protocol.md); absent where there is none. */
  poolKey: 'SIMMER_POOL_KEY',
  /** The launch token: good once. */
  token: 'SIMMER_TOKEN',
  /** namespace/name of the function. */
  function: 'SIMMER_FUNCTION',
  /** The module to load: an absolute path, or relative to the working directory. Absent: the code comes over the socket. */
  handler: 'SIMMER_HANDLER',
  /** Invocations at once. */
  capacity: 'SIMMER_CAPACITY',
  /** Milliseconds that a draining pod gives what it runs on SIGTERM. */
  graceMs: 'SIMMER_GRACE_MS',
  /** Folder in which the pod may make one for code that comes as an archive; the system's for temporary files where absent. */
  scratch: 'SIMMER_SCRATCH',
  /** Of a generic pod: names of modules, separated by commas, that it loads before it dials. */
  preload: 'SIMMER_PRELOAD',
  /** `1`: exit when standard input closes, so that no child outlives its control plane. */
  exitWithStdin: 'SIMMER_EXIT_WITH_STDIN',
} as const;

/** The one name that every control plane's certificate bears: pods dial addresses, but verify this. */
export const POD_TLS_NAME = 'simmer-control-plane';

/**
 * Flags for the `node` that runs the runtime. Tracking the asynchronous context by V8 instead of by a hook on every
 * promise makes each `await` of a handler cheaper, and is how Node 24 does it by default. A young generation that begins
 * at 8 MiB is collected every few thousand small calls; at Node's 1 MiB it is every few hundred, each at a fixed price.
 */
export const RUNTIME_NODE_FLAGS: readonly string[] = [
  '--experimental-async-context-frame',
  '--min-semi-space-size=8',
];
