/**
 * The control thread, put together: configuration in, messages to and from the scheduler, and behind them the registry,
 * the pools, the backends, the log and the management port.
 *
 *   connecting ──▶ standby ──leads──▶ reading ──▶ running ──drain──▶ draining ──stop──▶ (stopped)
 *
 * Only with Kubernetes are there the first two; a standby is ready, so that a rollout never waits for it to lead.
 */
import type { PoolStatus } from '@simmer/k8s/status/pool-status';
import type { Backend } from '@simmer/protocol/backend';
import { readEnvelope } from '@simmer/protocol/envelope';
import type { Registry, RegistrySnapshot } from '@simmer/protocol/registry';
import { codeStoreOf, version } from '../config/config.ts';
import { FunctionCounters, OTHER_SLOT, ProcessCounters } from '../shared/counters.ts';
import type {
  ControlThreadData,
  HttpRequestMessage,
  Successor,
  ToControl,
  ToScheduler,
  VerifyTokenMessage,
} from '../shared/messages.ts';
import { apiKeyFiles } from './access/api-key-files.ts';
import { ApiKeySecret, type KeySecret } from './access/api-key-secret.ts';
import { ApiKeys } from './access/api-keys.ts';
import { certificateFiles } from './access/certificate-files.ts';
import { guardOf } from './access/guard.ts';
import { Tokens } from './access/tokens.ts';
import type { WatchedFiles } from './access/watched-files.ts';
import { Api } from './api.ts';
import { logPodLine } from './backends/pod-log.ts';
import { type Command, ProcessBackend } from './backends/process.ts';
import { type CallbackParts, createCallbacks } from './callbacks/create.ts';
import { readCallbackSecret } from './callbacks/signing.ts';
import { systemClock } from './clock.ts';
import type { Cluster } from './cluster.ts';
import { FolderShelf } from './code/folder-shelf.ts';
import { FunctionCode } from './code/function-code.ts';
import { CodeStore } from './code/store.ts';
import { FunctionWrites } from './function-writes.ts';
import { createLog, type Log, type LogSink } from './log.ts';
import { ManagementServer, type Readiness } from './management.ts';
import { Metrics } from './metrics.ts';
import type { PoolFigures } from './pool-metrics.ts';
import { desiredOf, poolStatus } from './pool-status.ts';
import { PoolKeeper } from './pools/keeper.ts';
import type { Pool } from './pools/pool.ts';
import { CounterSlots } from './pools/slots.ts';
import { FolderRegistry } from './registry/folder.ts';
import { costOf } from './sizing/pool-costs.ts';

/** Several times within what counts as stalled. */
const BEAT_MS = 250;
const REPORT_MS = 1_000;
/** How long the next leader may take to serve: it has to win the Lease and read what is there. */
const SUCCESSION_MS = 15_000;

export interface ControlOptions {
  readonly data: ControlThreadData;
  readonly send: (message: ToScheduler) => void;
  readonly sink: LogSink;
  /** What a pod of the process backend runs, and inherits. */
  readonly command: Command;
  readonly podEnvironment: Readonly<Record<string, string>>;
  /** Connects to Kubernetes, where the configuration asks for it. */
  readonly connect: (data: ControlThreadData, log: Log, store: CodeStore) => Promise<Cluster>;
}

/** What there is once it is known which functions and pods to keep. */
interface Parts {
  readonly backends: readonly Backend[];
  readonly keeper: PoolKeeper;
  readonly registry: Registry;
  readonly api: Api;
  readonly callbacks: CallbackParts;
  readonly writes: FunctionWrites;
  readonly code: FunctionCode;
}

export class Control {
  private readonly options: ControlOptions;
  private readonly log: Log;
  private readonly management: ManagementServer;
  private readonly counters: ProcessCounters;
  private state: 'connecting' | 'standby' | 'reading' | 'running' | 'draining' = 'connecting';
  private parts: Parts | undefined;
  private cluster: Cluster | undefined;
  private readonly store: CodeStore;
  private callbackSecret: Uint8Array | undefined;
  private readonly apiKeys: ApiKeys;
  /** null: JWTs are not taken. */
  private readonly tokens: Tokens | null;
  private apiKeySecret: ApiKeySecret | undefined;
  /** By the option that names them. */
  private readonly files: readonly (readonly [string, WatchedFiles<unknown>])[];
  private refused = new Set<string>();
  private beat: NodeJS.Timeout | undefined;
  private reporting: NodeJS.Timeout | undefined;

  constructor(options: ControlOptions) {
    this.options = options;
    const { config, counters } = options.data;
    this.log = createLog(config.logLevel, options.sink);
    this.counters = new ProcessCounters(counters);
    this.apiKeys = new ApiKeys(options.send);
    this.tokens = tokensOf(config, this.log);
    this.files = this.watchedFiles(config);
    this.store = new CodeStore({
      shelf: shelfOf(config),
      inUse: () => bundlesOf(this.parts?.keeper.pools() ?? []),
      log: this.log,
    });
    const metrics = new Metrics({
      memory: counters,
      version: version(),
      functions: () => this.parts?.keeper.pools() ?? [],
      pools: () => this.poolFigures(),
      now: systemClock.epoch,
      cluster: () => this.cluster?.vitals(),
      callbacks: () => this.parts?.callbacks.callbacks ?? { pending: 0, pendingBytes: 0 },
    });
    this.management = new ManagementServer({
      sinceSchedulerBeat: () => this.counters.sinceBeat('scheduler', systemClock.epoch()),
      readiness: () => this.readiness(),
      metrics: () => ({ contentType: metrics.contentType, body: metrics.page() }),
      mayRead: guardOf(config, this.apiKeys, this.tokens),
    });
  }

  private watchedFiles({ apiKeys, tlsCert, tlsKey }: ControlThreadData['config']) {
    const { log } = this;
    const files: [string, WatchedFiles<unknown>][] = [];
    if (apiKeys !== '') {
      const keys = apiKeyFiles({ path: apiKeys, log }, (all) => this.apiKeys.set(all));
      files.push(['api-keys', keys]);
    }
    if (tlsCert !== '') {
      const changed = () => this.options.send({ type: 'certificate' });
      files.push(['tls-cert', certificateFiles({ cert: tlsCert, key: tlsKey, log }, changed)]);
    }
    return files;
  }

  private secretOf(secret: KeySecret): ApiKeySecret {
    const { log, apiKeys } = this;
    const name = this.options.data.config.apiKeysSecret;
    const watched = new ApiKeySecret({ secret, name, log, onKeys: (all) => apiKeys.set(all) });
    watched.watch();
    return watched;
  }

  /** Sends `started`, or `start-failed` with what is wrong. */
  async start(): Promise<void> {
    const { config } = this.options.data;
    this.counters.beat('control', Date.now());
    this.beat = setInterval(() => this.counters.beat('control', Date.now()), BEAT_MS);
    let managementPort: number;
    try {
      managementPort = await this.management.listen(config.managementHost, config.managementPort);
    } catch (error) {
      const where = `${config.managementHost}:${config.managementPort}`;
      return this.failStart(
        `management-port: cannot listen on ${where}: ${(error as Error).message}`,
      );
    }
    if (config.callbackSecret !== '') {
      try {
        this.callbackSecret = readCallbackSecret(config.callbackSecret);
      } catch (error) {
        return this.failStart((error as Error).message);
      }
    }
    for (const [option, files] of this.files) {
      try {
        await files.start();
      } catch (error) {
        return this.failStart(`${option}: ${(error as Error).message}`);
      }
    }
    const { cluster } = this;
    if (usesCluster(config) && cluster === undefined) {
      try {
        this.cluster = await this.options.connect(this.options.data, this.log, this.store);
      } catch (error) {
        return this.failStart(`kubernetes: ${(error as Error).message}`);
      }
      const { apiKeys } = this.cluster;
      if (apiKeys !== undefined) this.apiKeySecret = this.secretOf(apiKeys);
      if (!(await this.waitToLead(this.cluster))) return;
      try {
        await this.apiKeySecret?.lead();
      } catch (error) {
        return this.failStart(`api-keys-secret: ${(error as Error).message}`);
      }
    }
    this.enter('reading');
    const parts = this.assemble();
    this.parts = parts;
    try {
      await parts.keeper.findPods();
      await parts.registry.start((snapshot) => this.onFunctions(parts.keeper, snapshot));
    } catch (error) {
      const from = config.registry === 'folder' ? 'the folder' : 'the Kubernetes API';
      return this.failStart(`functions: cannot read ${from}: ${(error as Error).message}`);
    }
    if (!this.enter('running')) return;
    if (this.cluster?.keys) this.options.send({ type: 'pod-keys', ...this.cluster.keys });
    this.options.send({ type: 'started', managementPort });
    if (this.cluster) this.reporting = setInterval(() => this.report(), REPORT_MS);
  }

  /** False where it was told to drain meanwhile. */
  private enter(state: 'standby' | 'reading' | 'running'): boolean {
    if (this.state === 'draining') return false;
    this.state = state;
    return true;
  }

  private async waitToLead({ election }: Cluster): Promise<boolean> {
    if (election === undefined) return true;
    if (!this.enter('standby')) return false;
    election.onCertainty((leads) => {
      if (leads) this.parts?.keeper.resume();
      else this.parts?.keeper.pause();
    });
    election.onDeposed((successor) => this.options.send({ type: 'successor', successor }));
    await election.lead();
    return this.isOpen();
  }

  private isOpen(): boolean {
    return this.state !== 'draining';
  }

  private assemble(): Parts {
    const { data, send, sink } = this.options;
    const { config, bootId, podAddress } = data;
    const { cluster, log } = this;
    const backends = config.backends.map((name): Backend => {
      if (name === 'kubernetes') return cluster?.backend as Backend;
      return new ProcessBackend({
        command: this.options.command,
        environment: this.options.podEnvironment,
        ...(cluster?.ca !== undefined && { ca: cluster.ca }),
        onLine: (pod, stream, line) => logPodLine(log, sink, pod, stream, line),
      });
    });
    const keeper = new PoolKeeper({
      config,
      bootId,
      podAddress: (backend) => (backend === 'kubernetes' ? config.podAddress : podAddress),
      backends,
      slots: new CounterSlots(data.counters, config.metricsFunctions),
      clock: systemClock,
      log,
      send,
    });
    const registry =
      cluster?.registry ??
      new FolderRegistry({
        root: config.functions,
        log,
        bundles: this.store,
        maxBundleBytes: config.maxBundleBytes,
        isLocal: (spec) => (spec.backend ?? config.backends[0]) === 'process',
      });
    const callbacks = createCallbacks({
      secret: this.callbackSecret ?? cluster?.callbackSecret,
      ...{ config, log, send },
      countersOf: (key) =>
        new FunctionCounters(data.counters, keeper.pool(key)?.slot ?? OTHER_SLOT),
    });
    const api = new Api({
      ...{ pools: keeper, memory: data.counters, now: systemClock.now },
      callbackKey: callbacks.keyOf,
    });
    const show = (pool: Pool) => api.functionDetail(pool);
    const writes = new FunctionWrites({ registry, pools: keeper, show, clock: systemClock, log });
    const code = new FunctionCode({ registry, pools: keeper, writes, store: this.store });
    return { backends, keeper, registry, api, callbacks, writes, code };
  }

  /** A message from the scheduler. */
  onMessage(message: ToControl): void {
    const keeper = this.parts?.keeper;
    switch (message.type) {
      case 'need':
        keeper?.need(message);
        break;
      case 'pod-ready':
        keeper?.onPodReady(message.podId);
        break;
      case 'pod-claimed':
        keeper?.onPodClaimed(message);
        break;
      case 'pod-failed':
        keeper?.onPodFailed(message.podId, message.code, message.message);
        break;
      case 'pod-lost':
        keeper?.onPodLost(message.podId, message.reason);
        break;
      case 'pod-draining':
        keeper?.onPodDraining(message.podId, message.reason);
        break;
      case 'log':
        for (const line of message.lines) this.log[line.level](line.fields, line.message);
        break;
      case 'http-request':
        if (this.parts) void this.answer(this.parts, message);
        break;
      case 'check-envelope': {
        const { requestId, body } = message;
        this.options.send({ type: 'envelope-checked', requestId, reading: readEnvelope(body) });
        break;
      }
      case 'callback': {
        const { type: _, ...callback } = message;
        this.parts?.callbacks.callbacks.deliver(callback);
        break;
      }
      case 'verify-token':
        void this.verify(message);
        break;
      case 'serving':
        void this.cluster?.election?.serving();
        break;
      case 'succeed':
        void this.succeed();
        break;
      case 'drain':
        this.state = 'draining';
        this.parts?.writes.drain();
        keeper?.drain();
        break;
      case 'stop':
        void this.stop(message.graceMs, message.callbackGraceMs);
        break;
    }
  }

  private async answer(parts: Parts, request: HttpRequestMessage): Promise<void> {
    const { api, writes, code } = parts;
    const answering = FunctionCode.takes(request)
      ? code.answer(request)
      : FunctionWrites.takes(request)
        ? writes.answer(request)
        : api.answer(request);
    this.options.send(await answering);
  }

  private async verify({ requestId, token }: VerifyTokenMessage): Promise<void> {
    const verdict = await this.tokens?.verify(token);
    if (verdict) this.options.send({ type: 'token-verified', requestId, verdict });
  }

  /** The next leader decides about pods from now on. */
  private async succeed(): Promise<void> {
    const { election } = this.cluster ?? {};
    let successor: Successor | null = null;
    if (this.state === 'running' && election) {
      this.parts?.writes.drain();
      this.parts?.keeper.pause();
      successor = await election.succeed(SUCCESSION_MS);
    }
    this.options.send({ type: 'successor', successor });
  }

  private async stop(graceMs: number, callbackGraceMs: number): Promise<void> {
    this.state = 'draining';
    await this.parts?.registry.close();
    await Promise.all([
      this.parts?.keeper.stop(graceMs),
      this.parts?.callbacks.callbacks.close(callbackGraceMs),
    ]);
    await this.close();
    this.options.send({ type: 'stopped' });
  }

  private async failStart(message: string): Promise<void> {
    await this.parts?.registry.close();
    await this.close();
    this.options.send({ type: 'start-failed', message });
  }

  private async close(): Promise<void> {
    clearInterval(this.reporting);
    for (const [, files] of this.files) await files.close();
    this.apiKeySecret?.close();
    for (const backend of this.parts?.backends ?? []) await backend.close();
    await this.cluster?.close();
    await this.management.close();
    clearInterval(this.beat);
  }

  /** Those that share their counters with others have no label of their own. */
  private poolFigures(): PoolFigures[] {
    const figures: PoolFigures[] = [];
    for (const pool of this.parts?.keeper.pools() ?? []) {
      if (pool.slot === OTHER_SLOT) continue;
      const counters = new FunctionCounters(this.options.data.counters, pool.slot);
      figures.push({ key: pool.key, desired: desiredOf(pool), ...costOf(pool, counters) });
    }
    return figures;
  }

  private report(): void {
    const { cluster, parts } = this;
    if (cluster === undefined || parts === undefined) return;
    const statuses = new Map<string, PoolStatus>();
    for (const pool of parts.keeper.pools()) {
      const counters = new FunctionCounters(this.options.data.counters, pool.slot);
      statuses.set(pool.key, poolStatus(pool, counters));
    }
    cluster.report(statuses, parts.keeper.leaving());
  }

  private onFunctions(keeper: PoolKeeper, snapshot: RegistrySnapshot): void {
    const refused = new Set<string>();
    for (const { source, issues } of snapshot.refused) {
      for (const { field, reason } of issues) {
        const line = `manifest refused: ${source}: ${field === '' ? '' : `${field}: `}${reason}`;
        refused.add(line);
        // Once, not with every later change of another file.
        if (!this.refused.has(line)) {
          this.log.error({ code: 'invalid_manifest', source, field, reason }, line);
        }
      }
    }
    this.refused = refused;
    keeper.apply(snapshot.functions);
  }

  /** On Kubernetes it latches: a leader that waits for its pods must be reachable by them, and by those who may wait. */
  private readiness(): Readiness {
    switch (this.state) {
      case 'draining':
        return { state: 'draining' };
      case 'standby':
        return { state: 'ready' };
      case 'connecting':
      case 'reading':
        return this.cluster?.election ? { state: 'ready' } : { state: 'starting', pools: [] };
      case 'running': {
        const pools = this.cluster?.election ? [] : (this.parts?.keeper.notReady() ?? []);
        return pools.length === 0 ? { state: 'ready' } : { state: 'starting', pools };
      }
    }
  }
}

function tokensOf(config: ControlThreadData['config'], log: Log): Tokens | null {
  if (config.jwtIssuer === '') return null;
  return new Tokens({
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    jwks: config.jwtJwks,
    scopesClaim: config.jwtScopesClaim,
    functionsClaim: config.jwtFunctionsClaim,
    log,
  });
}

/** On Kubernetes without a folder its connection brings one. */
function shelfOf(config: ControlThreadData['config']): FolderShelf | undefined {
  const folder = codeStoreOf(config);
  return folder === '' ? undefined : new FolderShelf(folder, config.codeStoreMaxBytes);
}

/** Digests of uploaded code that functions in force name. */
function bundlesOf(pools: Iterable<Pool>): ReadonlySet<string> {
  const named = new Set<string>();
  for (const { registered } of pools) {
    const { bundle } = registered.manifest.spec.source ?? {};
    if (bundle !== undefined) named.add(bundle);
  }
  return named;
}

function usesCluster(config: ControlThreadData['config']): boolean {
  return config.registry === 'kubernetes' || config.backends.includes('kubernetes');
}
