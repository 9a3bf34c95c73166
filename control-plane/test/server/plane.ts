/**
 * The scheduler with its ports in this process, and the control thread played by the test: what a backend would say is said
 * as the test likes. Pods are peers, or real children running the bundled runtime.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FunctionManifest, resolveManifest } from '@simmer/protocol/manifest';
import type { FunctionSource } from '@simmer/protocol/registry';
import { RUNTIME_ENV, RUNTIME_NODE_FLAGS } from '@simmer/protocol/runtime-environment';
import type { Test } from 'tap';
import { Gate } from '../../src/scheduler/access/gate.ts';
import { AdminRequests } from '../../src/scheduler/admin-requests.ts';
import type { TlsFiles } from '../../src/scheduler/client-port.ts';
import { type Core, createCore } from '../../src/scheduler/core.ts';
import { Forwarder } from '../../src/scheduler/forwarder.ts';
import { ExecutionIds } from '../../src/scheduler/ids.ts';
import { Ingress } from '../../src/scheduler/ingress.ts';
import { type PodServerSettings, servePods } from '../../src/scheduler/pod-server.ts';
import { TICK_MS } from '../../src/scheduler/timing-wheel.ts';
import { TurnBatch } from '../../src/scheduler/turn-batch.ts';
import { loadUws, type Uws, type us_listen_socket } from '../../src/scheduler/uws.ts';
import { allocateCounters } from '../../src/shared/counters.ts';
import type { LogLine, ToControl } from '../../src/shared/messages.ts';
import { ACTOR, eventually } from './simmer.ts';

const RUNTIME = fileURLToPath(new URL('../../../runtime/dist/runtime.cjs', import.meta.url));
const HEARTBEAT_MS = 5_000;
const SESSION_KEY = { id: 'shared', key: Buffer.from('a key that several control planes share') };

export interface Launched {
  readonly podId: string;
  readonly uid: string;
  readonly credential: string;
}

export class Plane {
  readonly core: Core;
  readonly posted: ToControl[] = [];
  readonly lines: LogLine[] = [];
  port = 0;
  podPort = 0;
  ingress!: Ingress;
  private readonly name: string;
  private readonly ids: ExecutionIds;
  private readonly uws: Uws;
  private readonly sockets: us_listen_socket[] = [];
  private readonly timer: NodeJS.Timeout;
  readonly gate = Gate.open();
  private readonly batch = new TurnBatch();
  private pods = 0;

  private constructor(uws: Uws, name: string) {
    this.uws = uws;
    this.name = name;
    const ports = {
      now: () => performance.now(),
      post: (message: ToControl) => this.posted.push(message),
      log: (line: LogLine) => this.lines.push(line),
      random: Math.random,
      debug: false,
    };
    this.ids = new ExecutionIds(name);
    this.core = createCore(
      ports,
      Date.now,
      allocateCounters(16),
      {
        maxQueuedBytes: 2 ** 30,
        maxSyncExecutions: 10_000,
        executions: { maxCount: 1_000, maxBytes: 2 ** 28, maxAgeMs: 3_600_000 },
        idempotency: { maxCount: 1_000, maxBytes: 2 ** 26, maxAgeMs: 3_600_000 },
        callbackAllow: [],
        logs: { attemptBytes: 16_384, maxBytes: 2 ** 26, syncMaxBytes: 2 ** 23 },
        deadLetters: { maxCount: 1_000, maxBytes: 2 ** 24, maxTotalBytes: 2 ** 28 },
      },
      this.ids,
    );
    this.timer = setInterval(() => this.core.wheel.advance(performance.now()), TICK_MS);
  }

  /** Ends with the test. `name` keeps the ids of its pods apart. */
  static async start(
    t: Pick<Test, 'teardown'>,
    name = 'a',
    tls?: PodServerSettings['tls'],
    streamHeartbeatMs = 20_000,
    clientTls?: TlsFiles,
  ): Promise<Plane> {
    const plane = new Plane(await loadUws(16_384), name);
    t.teardown(() => plane.stop());
    const { core, uws, batch } = plane;
    core.onMessage({ type: 'pod-keys', keys: [SESSION_KEY] });
    const host = '127.0.0.1';
    const pods = await servePods(uws, core.scheduler, batch, {
      ...{ host, port: 0, heartbeatMs: HEARTBEAT_MS },
      ...(tls && { tls }),
    });
    const now = () => performance.now();
    const admin = new AdminRequests(
      core.wheel,
      now,
      (m) => plane.posted.push(m),
      () => [],
    );
    const ingress = new Ingress(core, admin, plane.gate, batch, plane.ids, {
      ...{ host, port: 0, bootId: name, maxTimeoutMs: 60_000, streamHeartbeatMs },
      maxBundleBytes: 2 ** 20,
      ...(clientTls && { tls: clientTls }),
    });
    plane.ingress = ingress;
    const clients = await ingress.listen(uws);
    plane.sockets.push(pods.socket, clients.socket);
    plane.podPort = pods.port;
    plane.port = clients.port;
    return plane;
  }

  /** Registers `default/<name>`. */
  define(
    name: string,
    spec: Partial<FunctionManifest['spec']> = {},
    source?: FunctionSource,
  ): void {
    const resolved = resolveManifest({
      apiVersion: 'simmer.dev/v1alpha1',
      kind: 'Function',
      metadata: { name },
      spec: { handler: 'handler.js', ...spec },
    });
    if (!resolved.ok || resolved.manifest.kind !== 'Function') throw new Error('bad manifest');
    const record = {
      ...{ key: `default/${name}`, spec: resolved.manifest.spec, revision: 'r', slot: 1 },
      ...(source && { source }),
    };
    this.core.onMessage({ type: 'functions', upsert: [record], remove: [] });
  }

  /** A pod of a backend that tells uids, which has not told this one's. */
  expect(name: string): Launched {
    const podId = `${this.name}-pod-${++this.pods}`;
    const pod = { podId, uid: `uid-of-${podId}`, credential: `token-of-${podId}` };
    this.expectAs(name, podId, pod.credential);
    return pod;
  }

  /** A pod that another control plane launched. */
  adopt(name: string, { podId, uid }: Launched): void {
    this.expectAs(name, podId, '');
    this.identify({ podId, uid });
  }

  private expectAs(name: string, podId: string, credential: string): void {
    this.core.onMessage({
      type: 'pod-expected',
      ...{ podId, credential, functionKey: `default/${name}`, kind: 'pool', revision: 'r' },
      ...{ backend: 'test', identified: true, launchedAt: Date.now(), needed: false },
    });
  }

  identify({ podId, uid }: { podId: string; uid: string }, proofKey = ''): void {
    this.core.onMessage({ type: 'pod-identified', podId, uid, proofKey });
  }

  /** As main.ts does once another has taken over. */
  handOverTo(next: Plane, force = false): Forwarder {
    const forwarder = this.forwardTo(`http://127.0.0.1:${next.port}`);
    this.core.onMessage({ type: 'hand-over', address: next.podAddress, force });
    return forwarder;
  }

  /** `certificate`: with an https address. */
  forwardTo(address: string, certificate?: string): Forwarder {
    const forwarder = new Forwarder({
      ...{ address, now: () => performance.now(), newId: () => 'x-1' },
      ...(certificate !== undefined && { certificate }),
      batch: this.batch,
      house: this.core.scheduler,
    });
    this.core.scheduler.handingOver = true;
    this.ingress.sendClientsTo(forwarder);
    return forwarder;
  }

  get podAddress(): string {
    return `ws://127.0.0.1:${this.podPort}`;
  }

  /** Waits until this many pods serve the function. */
  async serving(name: string, count = 1): Promise<void> {
    const fn = this.core.functions.get(`default/${name}`);
    await eventually(
      `${count} pods of ${name} serve`,
      () => [...(fn?.pods ?? [])].filter((pod) => pod.state === 'serving').length === count,
    );
  }

  postedOf<T extends ToControl['type']>(type: T): Extract<ToControl, { type: T }>[] {
    return this.posted.filter((m): m is Extract<ToControl, { type: T }> => m.type === type);
  }

  stop(): void {
    clearInterval(this.timer);
    for (const socket of this.sockets.splice(0)) this.uws.us_listen_socket_close(socket);
    for (const fn of this.core.functions.all()) {
      for (const pod of fn.pods) pod.link?.close('shutdown');
    }
  }
}

/** A real pod; it ends with the test. `code`: its handler's file; null: none. */
export class RuntimePod {
  readonly child: ChildProcess;
  output = '';

  private constructor(child: ChildProcess) {
    this.child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data) => {
        this.output += data;
      });
    }
  }

  static start(
    t: Pick<Test, 'teardown'>,
    address: string,
    { uid, credential }: Launched,
    env: Readonly<Record<string, string>> = {},
    code: string | null = ACTOR,
  ): RuntimePod {
    const folder = mkdtempSync(join(tmpdir(), 'simmer-pod-'));
    const handler = join(folder, 'handler.mjs');
    if (code !== null) writeFileSync(handler, code);
    const child = spawn(process.execPath, [...RUNTIME_NODE_FLAGS, RUNTIME], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        [RUNTIME_ENV.address]: address,
        [RUNTIME_ENV.podUid]: uid,
        [RUNTIME_ENV.token]: credential,
        [RUNTIME_ENV.function]: 'default/fn',
        ...(code !== null && { [RUNTIME_ENV.handler]: handler }),
        ...env,
      },
    });
    const pod = new RuntimePod(child);
    t.teardown(async () => {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      rmSync(folder, { recursive: true, force: true });
    });
    return pod;
  }
}
