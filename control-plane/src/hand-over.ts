/**
 * The end of a control plane that another takes over from: no call fails while it lasts.
 *
 *   serving ──SIGTERM, deposed──▶ asking ──nobody──▶ (drain at once)
 *                                   └──successor──▶ leaving ──nothing lives──▶ lingering ──nobody comes──▶ (drain)
 *
 * `leaving`: requests that still come are passed on to the next leader (forwarder.ts), and its pods are sent to it as their
 * functions' queues empty. `lingering`: the endpoints of a Service move some time after its label, on each node at another;
 * until then new connections may be led here.
 */
import type { Successor } from './shared/messages.ts';

/** From the label's move until every kube-proxy should have followed: by default they look once a second, and may be busy. */
const LINGER_MS = 3_000;
/** They have not while requests come. */
const QUIET_MS = 1_000;
/** How often it looks whether all has ended. */
const POLL_MS = 20;

export interface HandOverPorts {
  /** Asks the control thread for a successor; `onSuccessor` is to be called with the answer. */
  ask(): void;
  /** From now on requests are passed on, and answers close their connections, so that clients ask for an address anew. */
  sendClients(address: string): void;
  /** Sends the pods to the next leader. `force`: those of functions whose calls still wait, too. */
  sendPods(address: string, force: boolean): void;
  /** Every function's pods were sent on, and no invocation is left. */
  isEmpty(): boolean;
  /** Requests that were passed on and are not answered yet, and when the last came, on the clock of `now`. */
  forwarded(): { readonly live: number; readonly lastRequestAt: number };
  /** Nothing more is to be waited for. */
  done(): void;
  readonly graceMs: number;
  now(): number;
  after(ms: number, callback: () => void): void;
}

export class HandOver {
  private readonly ports: HandOverPorts;
  private state: 'serving' | 'asking' | 'leaving' | 'lingering' | 'done' = 'serving';

  constructor(ports: HandOverPorts) {
    this.ports = ports;
  }

  begin(): void {
    if (this.state !== 'serving') return;
    this.state = 'asking';
    this.ports.ask();
  }

  /** Another leads, or nobody does. Without `begin` before it: this one was deposed. */
  onSuccessor(successor: Successor | null): void {
    if (this.state !== 'asking' && this.state !== 'serving') return;
    if (successor === null) {
      // Asked for, nobody is there: 503 at once. Not asked for: nobody to hand over to, so go on.
      if (this.state === 'asking') this.finish();
      return;
    }
    this.state = 'leaving';
    const { ports } = this;
    const began = ports.now();
    ports.sendClients(successor.clientAddress);
    ports.sendPods(successor.address, false);
    const look = (): void => {
      const isLate = ports.now() >= began + ports.graceMs;
      if (this.state === 'leaving' && (isLate || ports.isEmpty())) {
        ports.sendPods(successor.address, true);
        this.state = 'lingering';
      }
      if (this.state === 'lingering' && (isLate || !this.isNeeded(began))) this.finish();
      else ports.after(POLL_MS, look);
    };
    look();
  }

  private isNeeded(began: number): boolean {
    const { live, lastRequestAt } = this.ports.forwarded();
    const now = this.ports.now();
    return live > 0 || now < began + LINGER_MS || now < lastRequestAt + QUIET_MS;
  }

  private finish(): void {
    this.state = 'done';
    this.ports.done();
  }
}
