/**
 * Simmer's scheduler with nothing behind it: the very code of the server's main thread, its functions and pods made up
 * instead of read and launched. How cost grows with thousands of either could not be seen on one machine otherwise.
 */

import { Gate } from '@simmer/control-plane/dist/scheduler/access/gate.js';
import { AdminRequests } from '@simmer/control-plane/dist/scheduler/admin-requests.js';
import { type Core, createCore } from '@simmer/control-plane/dist/scheduler/core.js';
import { ExecutionIds } from '@simmer/control-plane/dist/scheduler/ids.js';
import { Ingress } from '@simmer/control-plane/dist/scheduler/ingress.js';
import { servePods } from '@simmer/control-plane/dist/scheduler/pod-server.js';
import { TurnBatch } from '@simmer/control-plane/dist/scheduler/turn-batch.js';
import type { Uws } from '@simmer/control-plane/dist/scheduler/uws.js';
import { allocateCounters } from '@simmer/control-plane/dist/shared/counters.js';
import type { FunctionRecord } from '@simmer/control-plane/dist/shared/messages.js';
import { resolveManifest } from '@simmer/protocol/manifest';
import { functionKey } from '@simmer/protocol/names';

/** The server's default. */
const HEARTBEAT_MS = 2_000;

export interface FakePod {
  readonly podId: string;
  readonly credential: string;
}

export interface Assembly {
  readonly core: Core;
  readonly port: number;
  readonly podPort: number;
  /** Names as URLs have them, most called first. */
  readonly functions: readonly string[];
  /** In the order of `functions`; then those that idle. */
  readonly pods: readonly FakePod[];
}

/**
 * `calledFunctions` functions with one pod each, and `idlePods` pods of one that nobody calls. The caller drives the
 * timing wheel.
 */
export async function assemble(
  uws: Uws,
  calledFunctions: number,
  idlePods: number,
): Promise<Assembly> {
  const memory = allocateCounters(calledFunctions + 1);
  const batch = new TurnBatch();
  const now = () => performance.now();
  const post = () => {};
  const ports = { now, random: Math.random, post, log: () => {}, debug: false };
  const ids = new ExecutionIds('bench');
  const limits = {
    maxQueuedBytes: 2 ** 30,
    maxSyncExecutions: 10_000,
    executions: { maxCount: 1_000, maxBytes: 2 ** 28, maxAgeMs: 3_600_000 },
    idempotency: { maxCount: 1_000, maxBytes: 2 ** 26, maxAgeMs: 3_600_000 },
    callbackAllow: [],
    logs: { attemptBytes: 16_384, maxBytes: 2 ** 26, syncMaxBytes: 2 ** 23 },
    deadLetters: { maxCount: 1_000, maxBytes: 2 ** 24, maxTotalBytes: 2 ** 28 },
  };
  const core = createCore(ports, Date.now, memory, limits, ids);
  const podServer = await servePods(uws, core.scheduler, batch, {
    host: '127.0.0.1',
    port: 0,
    heartbeatMs: HEARTBEAT_MS,
  });
  const ingress = new Ingress(
    core,
    new AdminRequests(core.wheel, now, post, () => core.pods.snapshot()),
    Gate.open(),
    batch,
    ids,
    {
      host: '127.0.0.1',
      port: 0,
      bootId: 'bench',
      maxTimeoutMs: 60_000,
      streamHeartbeatMs: 20_000,
      maxBundleBytes: 1_048_576,
    },
  );
  const { port } = await ingress.listen(uws);

  const functions = Array.from({ length: calledFunctions }, (_, i) => `f${i}`);
  const owners = [...functions, ...Array.from({ length: idlePods }, () => 'idle')];
  const records = [...functions, ...(idlePods > 0 ? ['idle'] : [])].map(recordOf);
  core.onMessage({ type: 'functions', upsert: records, remove: [] });
  const pods = owners.map((owner, i) => {
    const pod = { podId: `pod-${i}`, credential: `credential-${i}` };
    core.onMessage({
      type: 'pod-expected',
      podId: pod.podId,
      kind: 'pool',
      functionKey: functionKey('default', owner),
      revision: '1',
      backend: 'none',
      credential: pod.credential,
      identified: false,
      launchedAt: Date.now(),
      needed: false,
    });
    return pod;
  });
  return { core, port, podPort: podServer.port, functions, pods };
}

function recordOf(name: string, index: number): FunctionRecord {
  const resolved = resolveManifest({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name },
    spec: { handler: 'none', concurrency: 100, maxReplicas: 10_000, queue: { maxLength: 1_000 } },
  });
  if (!resolved.ok || resolved.manifest.kind !== 'Function') throw new Error('not a manifest');
  return {
    key: functionKey('default', name),
    spec: resolved.manifest.spec,
    revision: '1',
    slot: index + 1,
  };
}
