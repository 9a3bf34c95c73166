/**
 * Gives pods to their backends, each in fair turns and only so many at once.
 *
 * A place is held from the order to the backend until the pod is ready, has failed, or PLACE_HOLD_MS have passed: a
 * start that takes longer waits for something (a network, a lock) rather than for this machine, and must not hold up
 * the others.
 */
import type { Backend } from '@simmer/protocol/backend';
import { SimmerError } from '@simmer/protocol/errors';
import type { Clock } from '../clock.ts';
import { LaunchQueue } from './launch-queue.ts';
import type { Pod, Pool } from './pool.ts';

const PLACE_HOLD_MS = 2_000;

export interface LauncherOptions {
  readonly backends: ReadonlyMap<string, Backend>;
  /** `ws://host:port` that a backend's pods dial. */
  readonly podAddress: (backend: string) => string;
  /** Of a backend's pods. */
  readonly maxConcurrent: (backend: string) => number;
  readonly clock: Clock;
  /** The pod is being given to its backend now. */
  readonly onStarting: (pool: Pool, pod: Pod) => void;
  /** The backend has it now. */
  readonly onTaken: (pod: Pod) => void;
  /** The backend refused it; no event will follow. */
  readonly onRefused: (pool: Pool, pod: Pod, reason: string) => void;
}

interface Order {
  readonly pool: Pool;
  readonly pod: Pod;
}

export class Launcher {
  private readonly options: LauncherOptions;
  private readonly queues = new Map<string, LaunchQueue<Order>>();
  private readonly orders = new Map<string, Order>();
  private readonly places = new Map<string, { release(): void }>();

  constructor(options: LauncherOptions) {
    this.options = options;
  }

  /** It is launched in its turn (`pump`), or taken back (`cancel`). `urgent`: a caller waits for it. */
  order(pool: Pool, pod: Pod, urgent: boolean): void {
    const order = { pool, pod };
    this.orders.set(pod.podId, order);
    this.queueOf(pod.backend).add(pool.key, order, urgent);
  }

  cancel(pod: Pod): void {
    const order = this.orders.get(pod.podId);
    if (!order) return;
    this.orders.delete(pod.podId);
    this.queueOf(pod.backend).remove(order.pool.key, order);
  }

  /** It is ready, has failed or is gone: its place is free. `pump` is to follow, once it is known what still waits. */
  release(podId: string): void {
    this.places.get(podId)?.release();
  }

  /** Begins what may begin. */
  pump(): void {
    for (const queue of this.queues.values()) {
      for (let next = queue.next(); next; next = queue.next()) {
        const { pool, pod } = next;
        this.orders.delete(pod.podId);
        this.hold(queue, pool.key, pod.podId);
        this.options.onStarting(pool, pod);
        void this.launch(pool, pod);
      }
    }
  }

  private queueOf(backend: string): LaunchQueue<Order> {
    let queue = this.queues.get(backend);
    if (queue === undefined) {
      queue = new LaunchQueue(this.options.maxConcurrent(backend));
      this.queues.set(backend, queue);
    }
    return queue;
  }

  private async launch(pool: Pool, pod: Pod): Promise<void> {
    const backend = this.options.backends.get(pod.backend);
    const { registered } = pool;
    try {
      if (!backend) {
        const known = [...this.options.backends.keys()].join(', ');
        throw new SimmerError(
          'launch_failed',
          `there is no backend ${pod.backend} here, only ${known}`,
        );
      }
      await backend.launch({
        podId: pod.podId,
        kind: pod.kind,
        functionKey: pool.key,
        spec: registered.manifest.spec,
        revision: pod.revision,
        baseDir: registered.baseDir,
        credential: pod.credential,
        address: this.options.podAddress(pod.backend),
        ...(registered.pool && { preload: registered.pool.preload }),
      });
      this.options.onTaken(pod);
    } catch (error) {
      this.release(pod.podId);
      this.options.onRefused(pool, pod, (error as Error).message);
    }
  }

  private hold(queue: LaunchQueue<Order>, key: string, podId: string): void {
    const release = () => {
      timer.cancel();
      if (this.places.delete(podId)) queue.done(key);
    };
    const timer = this.options.clock.after(PLACE_HOLD_MS, () => {
      release();
      this.pump();
    });
    this.places.set(podId, { release });
  }
}
