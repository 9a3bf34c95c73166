#!/usr/bin/env node
/**
 * The process: the scheduler on this, the main thread; the control thread as its worker.
 *
 *   starting ──▶ serving ──SIGTERM──▶ (hand-over.ts) ──▶ draining ──▶ stopping ──▶ exit 0
 *
 * A crash of either thread ends the process with a line that says which: it never limps on with half of itself.
 * Children exit by themselves then, because their standard input closes.
 */
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { asksWhoCalls, type Config, resolveConfig } from './config/config.ts';
import { HandOver } from './hand-over.ts';
import { Gate } from './scheduler/access/gate.ts';
import { AdminRequests } from './scheduler/admin-requests.ts';
import { createCore } from './scheduler/core.ts';
import { Forwarder } from './scheduler/forwarder.ts';
import { ExecutionIds, newBootId } from './scheduler/ids.ts';
import { Ingress } from './scheduler/ingress.ts';
import { FLUSH_INTERVAL_MS, LogBuffer } from './scheduler/log-buffer.ts';
import { servePods } from './scheduler/pod-server.ts';
import { TICK_MS } from './scheduler/timing-wheel.ts';
import { TurnBatch } from './scheduler/turn-batch.ts';
import { loadUws } from './scheduler/uws.ts';
import { allocateCounters, ProcessCounters } from './shared/counters.ts';
import type {
  ControlThreadData,
  PodKeysMessage,
  ToControl,
  ToScheduler,
} from './shared/messages.ts';

const BEAT_INTERVAL_MS = 250;
/** What pods get to exit by themselves once all work is done or given up, and callbacks at least. */
const POD_STOP_GRACE_MS = 2_000;
/** Beyond all graces: the control thread does not answer, end anyway. */
const LAST_RESORT_MS = 5_000;
/** How often a drain looks whether all has ended. */
const DRAIN_POLL_MS = 20;

function fatal(message: string): never {
  process.stderr.write(`simmer: ${message}\n`);
  process.exit(1);
}

/**
 * Node cuts small buffers from slabs of 8 KiB, which at full load is a new one every twenty invocations, each with a
 * finalizer that the garbage collector runs. (The cost of a larger one: a long-lived small body keeps its slab.)
 */
Buffer.poolSize = 65_536;

async function serve(config: Config): Promise<void> {
  const bootId = newBootId();
  const memory = allocateCounters(config.metricsFunctions);
  const counters = new ProcessCounters(memory);
  const logs = new LogBuffer(counters);
  const uws = await loadUws(config.maxHeaderBytes);
  const batch = new TurnBatch();

  let worker: Worker | null = null;
  // The bytes of a callback are nobody else's (executions/view.ts): they move.
  const post = (message: ToControl): void =>
    worker?.postMessage(
      message,
      message.type === 'callback' ? [message.body.buffer as ArrayBuffer] : [],
    );
  const now = (): number => performance.now();
  const ids = new ExecutionIds(bootId);
  const core = createCore(
    {
      now,
      random: Math.random,
      post,
      log: (line) => logs.add(line),
      debug: config.logLevel === 'debug',
    },
    Date.now,
    memory,
    {
      maxQueuedBytes: config.maxQueuedBytes,
      maxSyncExecutions: config.executionsSyncMax,
      executions: {
        maxCount: config.executionsMax,
        maxBytes: config.executionsMaxBytes,
        maxAgeMs: config.executionsMaxAgeMs,
      },
      idempotency: {
        maxCount: config.idempotencyKeysMax,
        maxBytes: config.idempotencyKeysMaxBytes,
        maxAgeMs: config.idempotencyKeysMaxAgeMs,
      },
      callbackAllow: config.callbackAllow,
      logs: {
        attemptBytes: config.executionLogBytes,
        maxBytes: config.executionLogsMaxBytes,
        syncMaxBytes: config.executionLogsSyncMaxBytes,
      },
      deadLetters: {
        maxCount: config.deadLettersMax,
        maxBytes: config.deadLettersMaxBytes,
        maxTotalBytes: config.deadLettersTotalBytes,
      },
    },
    ids,
  );
  const { scheduler } = core;

  const openPodPort = (tls?: PodKeysMessage['tls']): Promise<{ port: number }> =>
    servePods(uws, scheduler, batch, {
      host: config.podHost,
      port: config.podPort,
      heartbeatMs: config.heartbeatMs,
      ...(tls && { tls }),
    }).catch((error: Error) => fatal(`pod-port: ${error.message}`));
  // With Kubernetes it opens once the keys have come and the pods of an earlier process are known: one that dials
  // before would be refused for good.
  const early = config.backends.includes('kubernetes') ? undefined : await openPodPort();
  let podPort = early?.port ?? config.podPort;
  const admin = new AdminRequests(core.wheel, now, post, () => core.pods.snapshot());
  const tls =
    config.tlsCert === '' ? undefined : { certFile: config.tlsCert, keyFile: config.tlsKey };
  const gate = new Gate(
    { asks: asksWhoCalls(config), tokens: config.jwtIssuer !== '' },
    { wheel: core.wheel, now, wallClock: Date.now, post, count: (r) => counters.countRefusal(r) },
  );
  const ingress = new Ingress(core, admin, gate, batch, ids, {
    host: config.host,
    port: config.port,
    bootId,
    maxTimeoutMs: config.maxTimeoutMs,
    streamHeartbeatMs: config.streamHeartbeatMs,
    corsOrigins: config.corsOrigins,
    maxBundleBytes: config.maxBundleBytes,
    ...(tls && { tls }),
  });

  setInterval(() => core.wheel.advance(now()), TICK_MS);
  setInterval(() => counters.beat('scheduler', Date.now()), BEAT_INTERVAL_MS);
  setInterval(() => logs.flush(post), FLUSH_INTERVAL_MS);
  counters.beat('scheduler', Date.now());

  const podHost = ['0.0.0.0', '::'].includes(config.podHost) ? '127.0.0.1' : config.podHost;
  const scheme = early || config.podPlain ? 'ws' : 'wss';
  const workerData: ControlThreadData = {
    config,
    bootId,
    counters: memory,
    podAddress: `${scheme}://${podHost.includes(':') ? `[${podHost}]` : podHost}:${podPort}`,
  };
  const controlEntry = new URL('./control/thread.js', import.meta.url);
  const control = new Worker(controlEntry, { workerData, name: 'control' });
  worker = control;
  let stopping = false;
  let opened: Promise<void> = Promise.resolve();
  control.on('error', (error) => fatal(`the control thread crashed: ${describe(error)}`));
  control.on('exit', (code) => {
    if (!stopping) fatal(`the control thread ended by itself (code ${code})`);
  });
  control.on('message', (message: ToScheduler) => {
    // The core takes the keys, too.
    if (message.type === 'pod-keys') openPods(message);
    if (core.onMessage(message)) return;
    if (message.type === 'api-keys') gate.keys.apply(message);
    else if (message.type === 'token-verified') gate.tokens?.answered(message);
    else if (message.type === 'certificate') useCertificate();
    else if (message.type === 'http-response') admin.answered(message);
    else if (message.type === 'started')
      void opened.then(() => listenToClients(message.managementPort));
    else if (message.type === 'successor') handOver.onSuccessor(message.successor);
    else if (message.type === 'start-failed') fatal(message.message);
    else if (message.type === 'stopped') exit();
  });

  function openPods({ tls }: PodKeysMessage): void {
    opened = openPodPort(tls).then(({ port }) => {
      podPort = port;
    });
  }

  function useCertificate(): void {
    try {
      if (tls) ingress.useCertificate(tls);
    } catch (error) {
      // It has changed again since it was found good: that is told, too.
      const fields = { cert: config.tlsCert, reason: (error as Error).message };
      logs.add({ level: 'error', message: 'certificate refused: the one before goes on', fields });
    }
  }

  function listenToClients(managementPort: number): void {
    ingress.listen(uws).then(
      ({ port }) => {
        post({ type: 'serving' });
        logs.add({
          level: 'info',
          message: 'serving',
          fields: {
            host: config.host,
            port,
            managementHost: config.managementHost,
            managementPort,
            podPort,
            functions: config.functions,
            bootId,
          },
        });
      },
      (error: Error) => fatal(`port: ${error.message}`),
    );
  }

  let forwarder: Forwarder | undefined;
  const handOver = new HandOver({
    ask: () => post({ type: 'succeed' }),
    sendPods: (address, force) => void core.onMessage({ type: 'hand-over', address, force }),
    sendClients(address) {
      forwarder = new Forwarder({
        address,
        ...(tls && { certificate: readFileSync(tls.certFile, 'utf8') }),
        now,
        newId: () => ids.next(),
        batch,
        house: scheduler,
      });
      ingress.sendClientsTo(forwarder);
    },
    isEmpty: () => core.sendOff.isDone,
    forwarded: () => forwarder ?? { live: 0, lastRequestAt: 0 },
    done: drain,
    graceMs: config.shutdownGraceMs,
    now,
    after: (ms, callback) => void setTimeout(callback, ms),
  });

  function onSignal(signal: NodeJS.Signals): void {
    if (stopping) fatal(`ended by a second ${signal}`);
    stopping = true;
    logs.add({ level: 'info', message: 'ending', fields: { signal, live: scheduler.live } });
    if (config.instance === '') drain();
    else handOver.begin();
  }

  function drain(): void {
    scheduler.draining = true;
    ingress.streams.goaway();
    stopping = true;
    logs.add({ level: 'info', message: 'draining', fields: { live: scheduler.live } });
    post({ type: 'drain' });
    const giveUpAt = now() + config.shutdownGraceMs;
    const poll = setInterval(() => {
      if (scheduler.live > 0 && now() < giveUpAt) return;
      clearInterval(poll);
      giveUp();
      // After the answers of this turn have been written.
      setImmediate(() => {
        logs.flush(post);
        const callbackGraceMs = Math.max(giveUpAt - now(), POD_STOP_GRACE_MS);
        post({ type: 'stop', graceMs: POD_STOP_GRACE_MS, callbackGraceMs });
        setTimeout(exit, callbackGraceMs + LAST_RESORT_MS);
      });
    }, DRAIN_POLL_MS);
  }

  /** Out of time: what has not ended does now, and each is told in the log. */
  function giveUp(): void {
    if (scheduler.live === 0) return;
    logs.keepAll(post);
    const fields = { executions: scheduler.live };
    logs.add({ level: 'warn', message: 'out of time: what has not ended is cut off', fields });
    for (const fn of core.functions.everyone()) scheduler.giveUp(fn);
  }

  function exit(): void {
    process.exit(0);
  }
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

process.on('uncaughtException', (error) => {
  fatal(`the scheduler thread crashed: ${describe(error)}`);
});

const resolved = resolveConfig(process.argv.slice(2), process.env, (path) =>
  readFileSync(path, 'utf8'),
);
switch (resolved.kind) {
  case 'help':
  case 'version':
    process.stdout.write(resolved.text);
    break;
  case 'error':
    fatal(resolved.message);
    break;
  case 'config':
    serve(resolved.config).catch((error: unknown) =>
      fatal(error instanceof Error ? error.message : String(error)),
    );
}
