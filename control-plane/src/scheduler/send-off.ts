/**
 * Sends the pods to the next control plane, function by function, while this one still answers what it has.
 *
 *   idle ──begin──▶ sending ──every function sent on, nothing lives──▶ sending, done: only late pods come
 *
 * Invariants:
 *  G1. A function's pods go once nothing waits for them. One that serves stays until no body is on its way here any more.
 *      `force` ends both. New requests go to the next control plane before (forwarder.ts).
 *  G2. A pod that was sent on (`moved`) gets nothing more to do. It finishes what it runs, closes its socket, and that is no
 *      loss: it is the next one's.
 *  G3. Meanwhile nothing is ordered; what comes for a function that was sent on, or has no pod, is refused as `draining`.
 *  G4. Pods of WarmPools end: the next one has no way to know that they have served nobody (pod-identities.ts, A4).
 */
import type { FunctionState } from './function-state.ts';
import type { FunctionTable } from './function-table.ts';
import type { Pod } from './pod.ts';
import type { Scheduler } from './scheduler.ts';
import { TimerNode } from './timing-wheel.ts';

const LOOK_MS = 20;

export class SendOff extends TimerNode {
  private readonly scheduler: Scheduler;
  private readonly functions: FunctionTable;
  private state:
    | { readonly kind: 'idle' }
    | {
        readonly kind: 'sending';
        address: string;
        force: boolean;
        done: boolean;
      } = { kind: 'idle' };

  constructor(scheduler: Scheduler, functions: FunctionTable) {
    super();
    this.scheduler = scheduler;
    this.functions = functions;
  }

  /** Every pod was sent on, and nothing lives any more. */
  get isDone(): boolean {
    return this.state.kind === 'sending' && this.state.done;
  }

  /** Again: another address, or no more waiting. */
  begin(address: string, force: boolean): void {
    const { scheduler, state } = this;
    const now = scheduler.ports.now();
    if (state.kind === 'sending') {
      state.address = address;
      state.force ||= force;
    } else {
      this.state = { kind: 'sending', address, force, done: false };
      scheduler.handingOver = true;
      scheduler.ports.log({ level: 'info', message: 'handing over', fields: { address } });
    }
    this.onTimer(now);
  }

  onTimer(now: number): void {
    const { scheduler, state } = this;
    if (state.kind !== 'sending') return;
    let left = 0;
    for (const fn of this.functions.all()) {
      this.look(fn, state, now);
      if (!fn.sentOn) left++;
    }
    if (left === 0 && scheduler.live === 0 && !state.done) {
      state.done = true;
      scheduler.ports.post({ type: 'handed-over' });
    }
    // Also when it is done: a pod that dials only now is to be sent on.
    scheduler.wheel.set(this, now + LOOK_MS);
  }

  private look(
    fn: FunctionState,
    { address, force }: { address: string; force: boolean },
    now: number,
  ): void {
    if (fn.generic) {
      fn.sentOn = true;
      for (const pod of fn.pods) this.scheduler.pods.drain(pod, 'another control plane takes over'); // G4
      return;
    }
    if (!force && !fn.sentOn && fn.queue.length + fn.waiting.length > 0) return;
    const last = force || fn.sentOn || !isReceiving(fn);
    const kept = last ? null : keptOf(fn); // G1
    if (last) fn.sentOn = true;
    for (const pod of fn.pods) {
      if (pod !== kept) this.scheduler.pods.sendOn(pod, address);
    }
    // What is left of a queue has no pod now (G3).
    if (last) this.scheduler.misses.look(fn, now);
  }
}

/** The pod that serves on: the one that the next call would get. */
function keptOf(fn: FunctionState): Pod | null {
  const best = fn.available.best();
  if (best !== null) return best;
  for (const pod of fn.pods) if (pod.state === 'serving') return pod;
  return null;
}

/** More is held than what runs has: a body is on its way. */
function isReceiving(fn: FunctionState): boolean {
  let runningBytes = 0;
  for (const pod of fn.pods) {
    for (const invocation of pod.running.values()) runningBytes += invocation.heldBytes;
  }
  return fn.heldBytes > runningBytes;
}
