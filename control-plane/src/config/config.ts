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
  readonly allowAnonymous: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  /** Milliseconds between pings of a pod. */
  readonly heartbeatMs: number;
  /** Bytes of request bodies held for all functions together. */
  readonly maxQueuedBytes: number;
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
  /** One-shot pods of all functions together. */
  readonly maxJobs: number;
}
