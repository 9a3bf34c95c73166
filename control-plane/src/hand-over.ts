/**
 * The end of a control plane that another takes over from: no call fails while it lasts.
 *
 *   serving ──SIGTERM, deposed──▶ asking ──nobody──▶ (drain at once)
 *                                   └──address──▶ settling ──▶ leaving ──nothing lives──▶ (drain)
 *
 * `settling`: clients may still be led here, because the endpoints of a Service move some time after its label; pods stay
 * until then. `leaving`: pods are sent to the next leader as their functions' queues empty.
 */

/** From the label's move until kube-proxy has followed, on a node that is busy. */
const SETTLE_MS = 1_500;
/** How often it looks whether all has ended. */
const POLL_MS = 20;

export interface HandOverPorts {
  /** Asks the control thread for a successor; `onSuccessor` is to be called with the answer. */
  ask(): void;
  /** From now on answers close their connections, so that clients ask for an address anew. */
  closeConnections(): void;
  /** Sends the pods to the next leader. `force`: those of functions whose calls still wait, too. */
  sendPods(address: string, force: boolean): void;
  /** Every function's pods were sent on, and no invocation is left. */
  isEmpty(): boolean;
  /** Nothing more is to be waited for. */
  done(): void;
  readonly graceMs: number;
  now(): number;
  after(ms: number, callback: () => void): void;
}

export class HandOver {
  private readonly ports: HandOverPorts;
  private state: 'serving' | 'asking' | 'settling' | 'leaving' | 'done' = 'serving';

  constructor(ports: HandOverPorts) {
    this.ports = ports;
  }

  begin(): void {
    if (this.state !== 'serving') return;
    this.state = 'asking';
    this.ports.ask();
  }

  /** Another leads, or nobody does. Without `begin` before it: this one was deposed. */
  onSuccessor(address: string | null): void {
    if (this.state !== 'asking' && this.state !== 'serving') return;
    if (address === null) {
      // Asked for, nobody is there: 503 at once. Not asked for: nobody to hand over to, so go on.
      if (this.state === 'asking') this.finish();
      return;
    }
    this.state = 'settling';
    this.ports.closeConnections();
    this.ports.after(SETTLE_MS, () => this.leave(address));
  }

  private leave(address: string): void {
    this.state = 'leaving';
    const { ports } = this;
    const giveUpAt = ports.now() + ports.graceMs;
    ports.sendPods(address, false);
    const look = (): void => {
      if (!ports.isEmpty() && ports.now() < giveUpAt) {
        ports.after(POLL_MS, look);
        return;
      }
      ports.sendPods(address, true);
      this.finish();
    };
    look();
  }

  private finish(): void {
    this.state = 'done';
    this.ports.done();
  }
}
