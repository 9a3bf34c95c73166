/** Answers the rare requests of the public port, which the scheduler hands over: functions, pools, and the documentation. What writes is in function-writes.ts. */
import { type ErrorCode, problem } from '@simmer/protocol/errors';
import {
  functionKey,
  keyOfUrlName,
  urlNameOfKey,
  warmPoolKey,
  warmPoolName,
} from '@simmer/protocol/names';
import { version } from '../config/config.ts';
import { may } from '../shared/caller.ts';
import { clip } from '../shared/clip.ts';
import { FunctionCounters, MISSES, PLACEMENTS } from '../shared/counters.ts';
import type { HttpRequestMessage, HttpResponseMessage, PodSnapshot } from '../shared/messages.ts';
import { Documentation } from './documentation.ts';
import { desiredOf } from './pool-status.ts';
import { fittingNames } from './pools/fitting.ts';
import { claimedFrom, isComing, isLeaving, type Pod, type Pool } from './pools/pool.ts';
import { costOf } from './sizing/pool-costs.ts';
import { etagOf } from './write-answers.ts';

export interface ApiOptions {
  readonly pools: {
    pools(): Iterable<Pool>;
    pool(key: string): Pool | undefined;
    readonly defaultBackend: string;
  };
  readonly memory: SharedArrayBuffer;
  /** What signs the callbacks of a function. */
  readonly callbackKey: (functionKey: string) => string;
  /** The keeper's clock: what its records' times are measured by. */
  readonly now: () => number;
}

const ROUTE = /^\/v1\/(functions|pools)(?:\/([^/]*)(\/callback-key)?)?$/;

export class Api {
  private readonly options: ApiOptions;
  private readonly documentation = new Documentation(version());

  constructor(options: ApiOptions) {
    this.options = options;
  }

  /** Never throws for what a client sent. */
  answer(request: HttpRequestMessage): HttpResponseMessage {
    const page = this.documentation.page(request.path);
    if (page !== undefined) {
      const { requestId } = request;
      return { type: 'http-response', requestId, status: 200, ...page };
    }
    const route = ROUTE.exec(request.path);
    const [, collection, urlName, part] = route ?? [];
    if (collection === undefined) {
      return this.fail(request, 'route_not_found', `There is no route ${clip(request.path)}.`);
    }
    if (urlName === undefined) {
      const pools = this.sorted().filter((pool) => may(request.caller, [], pool.key));
      const list =
        collection === 'functions'
          ? this.listFunctions(pools)
          : this.listPools(pools, request.pods);
      return respond(request, 200, 'application/json', { [collection]: list });
    }
    const key = keyOfUrlName(urlName);
    if (key === undefined) {
      const detail = `${JSON.stringify(clip(urlName))} is not a function name.`;
      return this.fail(request, 'invalid_function_name', detail);
    }
    // What this caller is not to see is answered as if it were not there.
    const seen = (pool: Pool | undefined) =>
      pool !== undefined && may(request.caller, [], pool.key) ? pool : undefined;
    if (collection === 'functions') {
      const pool = seen(this.options.pools.pool(key));
      if (!pool) {
        return this.fail(request, 'function_not_found', `There is no function ${urlName}.`);
      }
      if (part !== undefined) {
        const key = this.options.callbackKey(pool.key);
        return respond(request, 200, 'application/json', { key });
      }
      const answer = respond(request, 200, 'application/json', this.functionDetail(pool));
      return { ...answer, headers: [['etag', etagOf(pool.registered.manifest)]] };
    }
    const pool = seen(this.poolOf(key, new URLSearchParams(request.query).get('kind')));
    if (!pool) return this.fail(request, 'pool_not_found', `There is no pool ${urlName}.`);
    return respond(request, 200, 'application/json', this.poolDetail(pool, request.pods));
  }

  // ---- functions ---------------------------------------------------------------------------------------------------

  private listFunctions(pools: readonly Pool[]) {
    const functions = pools.filter((pool) => warmPoolName(pool.key) === undefined);
    return functions.map((pool) => {
      const { handler, runtime, concurrency, minReplicas, maxReplicas } =
        pool.registered.manifest.spec;
      return {
        ...nameOf(pool),
        spec: { handler, runtime, concurrency, minReplicas, maxReplicas },
        status: this.functionStatus(pool),
      };
    });
  }

  /** The manifest, which a PUT takes as it is shown here, and how the function is. */
  functionDetail(pool: Pool) {
    return {
      ...pool.registered.manifest,
      ...nameOf(pool),
      status: this.functionStatus(pool),
    };
  }

  private functionStatus(pool: Pool) {
    const counters = this.countersOf(pool);
    return {
      revision: pool.registered.revision,
      pods: {
        launching: counters.gauge('podsLaunching'),
        idle: counters.gauge('podsIdle'),
        busy: counters.gauge('podsBusy'),
        draining: counters.gauge('podsDraining'),
      },
      queued: counters.gauge('queued'),
      running: counters.gauge('running'),
      accepted: counters.counter('accepted'),
      succeeded: counters.counter('succeeded'),
      warmPools: warmPoolsOf(pool),
      ...(pool.lastFailure && { lastFailure: pool.lastFailure }),
    };
  }

  // ---- pools -------------------------------------------------------------------------------------------------------

  /** Of the function, else of the WarmPool of that name; `kind` chooses where there are both. */
  private poolOf(key: string, kind: string | null): Pool | undefined {
    const { pools } = this.options;
    const slash = key.indexOf('/');
    const generic = pools.pool(warmPoolKey(key.slice(0, slash), key.slice(slash + 1)));
    if (kind === 'WarmPool') return generic;
    return pools.pool(key) ?? (kind === null ? generic : undefined);
  }

  private listPools(pools: readonly Pool[], snapshots: readonly PodSnapshot[]) {
    const byKey = new Map<string, PodSnapshot[]>();
    for (const snapshot of snapshots) {
      const known = byKey.get(snapshot.functionKey);
      if (known) known.push(snapshot);
      else byKey.set(snapshot.functionKey, [snapshot]);
    }
    return pools.map((pool) => this.poolSummary(pool, this.podsOf(pool, byKey.get(pool.key))));
  }

  private poolDetail(pool: Pool, snapshots: readonly PodSnapshot[]) {
    const pods = this.podsOf(pool, snapshots);
    return { ...this.poolSummary(pool, pods), cost: this.costOf(pool), pods };
  }

  private poolSummary(pool: Pool, pods: readonly PodView[]) {
    const { minReplicas, maxReplicas, backend } = pool.registered.manifest.spec;
    const counters = this.countersOf(pool);
    const count = (state: PodView['state']) => pods.filter((pod) => pod.state === state).length;
    const idle = count('idle');
    const busy = count('busy');
    return {
      ...nameOf(pool),
      kind: warmPoolName(pool.key) === undefined ? 'Function' : 'WarmPool',
      revision: pool.registered.revision,
      backend: backend ?? this.options.pools.defaultBackend,
      minReplicas,
      maxReplicas,
      desired: desiredOf(pool),
      ...(pool.size && {
        decidedBy: pool.size.decidedBy,
        decision: pool.size.explain(),
      }),
      live: pods.length,
      ready: idle + busy,
      idle,
      busy,
      launching: count('launching'),
      draining: count('draining'),
      stale: pods.filter((pod) => pod.stale).length,
      jobs: pods.filter((pod) => pod.kind === 'job').length,
      ...(pool.registered.pool && { claimed: claimedFrom(pool) }),
      lost: counters.counter('podsLost'),
      misses: Object.fromEntries(MISSES.map((kind) => [kind, counters.miss(kind)])),
      placements: Object.fromEntries(PLACEMENTS.map((kind) => [kind, counters.placement(kind)])),
      ...(pool.lastFailure && { lastFailure: pool.lastFailure }),
      ...this.suspension(pool),
    };
  }

  /** Shared counters tell nothing of one function. */
  private costOf(pool: Pool) {
    const figures = costOf(pool, this.countersOf(pool));
    const rounded = Object.entries(figures).map(([name, n]) => [
      name,
      Math.round(n * 1_000) / 1_000,
    ]);
    return Object.fromEntries(rounded) as typeof figures;
  }

  private suspension(pool: Pool): { launchesSuspendedMs?: number } {
    if (pool.backoff.state !== 'failing') return {};
    return {
      launchesSuspendedMs: Math.max(
        0,
        Math.round(pool.backoff.suspendedUntil - this.options.now()),
      ),
    };
  }

  /** Which pods there are is the keeper's knowledge; what each does, the scheduler's. */
  private podsOf(pool: Pool, snapshots: readonly PodSnapshot[] = []): PodView[] {
    const byId = new Map(snapshots.map((s) => [s.podId, s]));
    return [...pool.pods.values()].map((pod) => {
      const snapshot = byId.get(pod.podId);
      return {
        id: pod.podId,
        label: pod.label ?? null,
        kind: pod.kind,
        state: stateOf(pod, snapshot),
        inFlight: snapshot?.inFlight ?? 0,
        ageMs: Math.round(this.options.now() - pod.launchedAt),
        stale: pod.revision !== pool.registered.revision,
      };
    });
  }

  private sorted(): Pool[] {
    return [...this.options.pools.pools()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Past the bound on metrics' labels, those of all functions that share the block. */
  private countersOf(pool: Pool): FunctionCounters {
    return new FunctionCounters(this.options.memory, pool.slot);
  }

  private fail(request: HttpRequestMessage, code: ErrorCode, detail: string): HttpResponseMessage {
    const body = problem(code, detail, { executionId: request.executionId });
    return respond(request, body.status, 'application/problem+json', body);
  }
}

interface PodView {
  readonly id: string;
  /** Process id or pod name; null until it runs. */
  readonly label: string | null;
  readonly kind: Pod['kind'];
  readonly state: 'launching' | 'idle' | 'busy' | 'draining';
  readonly inFlight: number;
  readonly ageMs: number;
  readonly stale: boolean;
}

/** What the scheduler says of it holds, unless this thread knows that it is on its way out or not there yet. */
function stateOf(pod: Pod, snapshot: PodSnapshot | undefined): PodView['state'] {
  if (isLeaving(pod)) return 'draining';
  if (isComing(pod)) return 'launching';
  switch (snapshot?.state) {
    case 'idle':
    case 'busy':
    case 'draining':
      return snapshot.state;
    default:
      return 'launching';
  }
}

/** Which WarmPools' pods may become this function's; or why none. */
function warmPoolsOf({ fit }: Pool): { pools: readonly string[]; reason?: string } {
  const reason = fit !== undefined && 'reason' in fit ? { reason: fit.reason } : {};
  return { pools: fittingNames(fit), ...reason };
}

function nameOf(pool: Pool) {
  const { name, namespace } = pool.registered.manifest.metadata;
  return { name, namespace, urlName: urlNameOfKey(functionKey(namespace, name)) };
}

function respond(
  request: HttpRequestMessage,
  status: number,
  contentType: string,
  value: unknown,
): HttpResponseMessage {
  const { requestId } = request;
  return {
    type: 'http-response',
    requestId,
    status,
    contentType,
    body: `${JSON.stringify(value)}\n`,
  };
}
