/**
 * The control thread, put together: configuration in, messages to and from the scheduler, and behind them the registry,
 * the pools, a backend, the log and the management port.
 */
import type { Registry, RegistrySnapshot } from '@simmer/protocol/registry';
import { version } from '../config/config.ts';
import { ProcessCounters } from '../shared/counters.ts';
import type { ControlThreadData, ToControl, ToScheduler } from '../shared/messages.ts';
import { Api } from './api.ts';
import { logPodLine } from './backends/pod-log.ts';
import { type Command, ProcessBackend } from './backends/process.ts';
import { systemClock } from './clock.ts';
import { createLog, type Log, type LogSink } from './log.ts';
import { ManagementServer, type Readiness } from './management.ts';
import { Metrics } from './metrics.ts';
import { PoolKeeper } from './pools/keeper.ts';
import { CounterSlots } from './pools/slots.ts';
import { FolderRegistry } from './registry/folder.ts';

/** Several times within what counts as stalled. */
const BEAT_MS = 250;

export interface ControlOptions {
  readonly data: ControlThreadData;
  readonly send: (message: ToScheduler) => void;
  readonly sink: LogSink;
  /** What a pod of the process backend runs, and inherits. */
  readonly command: Command;
  readonly podEnvironment: Readonly<Record<string, string>>;
}

export class Control {
  private readonly options: ControlOptions;
  private readonly log: Log;
  private readonly backend: ProcessBackend;
  private readonly keeper: PoolKeeper;
  private readonly registry: Registry;
  private readonly management: ManagementServer;
  private readonly api: Api;
  private readonly counters: ProcessCounters;
  private state: 'starting' | 'running' | 'draining' = 'starting';
  private refused = new Set<string>();
  private beat: NodeJS.Timeout | undefined;

  constructor(options: ControlOptions) {
    this.options = options;
    const { data, send, sink } = options;
    const { config, bootId, podAddress } = data;
    const memory = data.counters;
    const clock = systemClock;
    const log = createLog(config.logLevel, sink);
    this.log = log;
    this.counters = new ProcessCounters(memory);
    this.backend = new ProcessBackend({
      command: options.command,
      environment: options.podEnvironment,
      onLine: (pod, stream, line) => logPodLine(log, sink, pod, stream, line),
    });
    this.keeper = new PoolKeeper({
      config,
      bootId,
      podAddress,
      backends: [this.backend],
      slots: new CounterSlots(memory, config.metricsFunctions),
      clock,
      log,
      send,
    });
    this.registry = new FolderRegistry({ root: config.functions, log });
    this.api = new Api({ pools: this.keeper, memory, now: clock.now });
    const metrics = new Metrics({
      memory,
      version: version(),
      functions: () => this.keeper.pools(),
      now: clock.epoch,
    });
    this.management = new ManagementServer({
      sinceSchedulerBeat: () => this.counters.sinceBeat('scheduler', clock.epoch()),
      readiness: () => this.readiness(),
      metrics: () => ({ contentType: metrics.contentType, body: metrics.page() }),
    });
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
    try {
      await this.registry.start((snapshot) => this.onFunctions(snapshot));
    } catch (error) {
      return this.failStart(`functions: cannot read the folder: ${(error as Error).message}`);
    }
    // Not where it was told to drain meanwhile.
    if (this.state !== 'starting') return;
    this.state = 'running';
    this.options.send({ type: 'started', managementPort });
  }

  /** A message from the scheduler. */
  onMessage(message: ToControl): void {
    switch (message.type) {
      case 'need':
        this.keeper.need(message);
        break;
      case 'pod-ready':
        this.keeper.onPodReady(message.podId);
        break;
      case 'pod-failed':
        this.keeper.onPodFailed(message.podId, message.code, message.message);
        break;
      case 'pod-lost':
        this.keeper.onPodLost(message.podId, message.reason);
        break;
      case 'pod-draining':
        this.keeper.onPodDraining(message.podId, message.reason);
        break;
      case 'log':
        for (const line of message.lines) this.log[line.level](line.fields, line.message);
        break;
      case 'http-request':
        this.options.send(this.api.answer(message));
        break;
      case 'drain':
        this.state = 'draining';
        this.keeper.drain();
        break;
      case 'stop':
        void this.stop(message.graceMs);
        break;
    }
  }

  private async stop(graceMs: number): Promise<void> {
    this.state = 'draining';
    await this.registry.close();
    await this.keeper.stop(graceMs);
    await this.close();
    this.options.send({ type: 'stopped' });
  }

  private async failStart(message: string): Promise<void> {
    await this.registry.close();
    await this.close();
    this.options.send({ type: 'start-failed', message });
  }

  private async close(): Promise<void> {
    await this.backend.close();
    await this.management.close();
    clearInterval(this.beat);
  }

  private onFunctions(snapshot: RegistrySnapshot): void {
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
    this.keeper.apply(snapshot.functions);
  }

  private readiness(): Readiness {
    if (this.state === 'draining') return { state: 'draining' };
    if (this.state === 'starting') return { state: 'starting', pools: [] };
    const pools = this.keeper.notReady();
    return pools.length === 0 ? { state: 'ready' } : { state: 'starting', pools };
  }
}
