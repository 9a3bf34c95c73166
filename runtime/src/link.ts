/**
 * Keeps the pod connected: dials, dials again with full jitter, and follows `goaway`.
 *
 *             welcome                lost
 *   dialling ─────────▶ serving ──────────────▶ waiting ──timer──▶ dialling
 *       └── lost ──────────────────────────────────▲
 *   any ── stop, fatal ──▶ stopped
 *
 * Invariants:
 *  L1. One connection at most takes new work or is being dialled. Those that `goaway` left behind finish what they have
 *      and close; their end starts nothing.
 *  L2. The launch token is shown until a `welcome` has replaced it with a session; from then on only the newest session.
 *  L3. A refused dial is tried again for ever: the control plane may be restarting. Only a fatal close code ends it.
 *  L4. An address is kept while it leads to a welcome; each dial that does not goes to the other one next. `goaway` takes the
 *      first one's place.
 */
import type { Code, Hello, Invoke, Specialize, Welcome } from '@simmer/protocol/frames';
import { Backoff } from './backoff.ts';
import type { ConnectionEnd, ConnectionOwner } from './connection.ts';
import { Connection } from './connection.ts';
import { isAddress } from './environment.ts';

/** From dial to HTTP upgrade. A control plane answers in a millisecond; a black hole never does. */
const DIAL_TIMEOUT_MS = 10_000;
/**
 * Where there is another address to try, the first dial waits only this long: the machine may be gone without a word. Doubled with
 * each that fails, because it may as well be this pod that is slow, with a tenth of a core and a large handler to load.
 */
const FIRST_DIAL_TIMEOUT_MS = 2_000;

export interface LinkOwner {
  /** The hello of a new connection, which counts the attempts that still run. */
  hello(connection: Connection, credential: string): Hello;
  welcomed(connection: Connection, welcome: Welcome): void;
  invoke(connection: Connection, limits: Welcome, frame: Invoke): boolean;
  specialize(frame: Specialize): boolean;
  code(frame: Code): boolean;
  drain(graceMs: number): void;
  /** The control plane is away: once an outage, with the first reason. */
  lost(address: string, reason: string): void;
  /** It is back. */
  found(address: string): void;
  /** The control plane has refused this pod for good. */
  refused(reason: string): void;
}

/** Where the control plane is. */
export interface LinkTarget {
  readonly address: string;
  /** '' where there is none. */
  readonly fallbackAddress: string;
  /** PEM; '' for the CAs that Node trusts. */
  readonly ca: string;
}

type State =
  | { readonly kind: 'dialling'; readonly connection: Connection }
  | { readonly kind: 'serving'; readonly connection: Connection }
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly kind: 'stopped' };

export class Link implements ConnectionOwner {
  private readonly owner: LinkOwner;
  private readonly backoff = new Backoff(Math.random);
  /** One or two (L4). */
  private readonly addresses: string[];
  private at = 0;
  private readonly ca: string;
  /** Dials in a row that led to no welcome. */
  private failedDials = 0;
  private credential: string;
  private state: State;
  private away = false;
  /** Left behind by `goaway` (L1). */
  private readonly leaving = new Set<Connection>();

  /** Dials at once. `fallback`, `ca`: '' for none. */
  constructor(owner: LinkOwner, target: LinkTarget, credential: string) {
    const { address, fallbackAddress, ca } = target;
    this.owner = owner;
    this.addresses = fallbackAddress === '' ? [address] : [address, fallbackAddress];
    this.ca = ca;
    this.credential = credential;
    this.state = { kind: 'dialling', connection: this.connect() };
  }

  private get address(): string {
    return this.addresses[this.at] as string;
  }

  private get dialTimeoutMs(): number {
    if (this.addresses.length === 1) return DIAL_TIMEOUT_MS;
    return Math.min(DIAL_TIMEOUT_MS, FIRST_DIAL_TIMEOUT_MS * 2 ** Math.min(this.failedDials, 10));
  }

  private connect(): Connection {
    return new Connection(this.address, this, { ca: this.ca, timeoutMs: this.dialTimeoutMs });
  }

  /** The connection that is welcomed and takes new work. */
  get current(): Connection | undefined {
    return this.state.kind === 'serving' ? this.state.connection : undefined;
  }

  /** Every connection over which something may still be sent. */
  connections(): Connection[] {
    const { current } = this;
    return current === undefined ? [...this.leaving] : [current, ...this.leaving];
  }

  /** Closes everything and dials no more; `done` runs when what was sent has arrived, or cannot. */
  stop(done: () => void): void {
    const open = this.connections();
    this.halt();
    let left = open.length;
    if (left === 0) done();
    for (const connection of open) {
      connection.close(() => {
        if (--left === 0) done();
      });
    }
  }

  // ---- ConnectionOwner ----

  hello(connection: Connection): Hello {
    return this.owner.hello(connection, this.credential);
  }

  welcomed(connection: Connection, welcome: Welcome): void {
    this.credential = welcome.session; // L2
    this.failedDials = 0;
    this.state = { kind: 'serving', connection };
    if (this.away) this.owner.found(this.address);
    this.away = false;
    this.owner.welcomed(connection, welcome);
  }

  invoke(connection: Connection, limits: Welcome, frame: Invoke): boolean {
    return this.owner.invoke(connection, limits, frame);
  }

  specialize(frame: Specialize): boolean {
    this.credential = frame.session; // L2
    return this.owner.specialize(frame);
  }

  code(frame: Code): boolean {
    return this.owner.code(frame);
  }

  drain(graceMs: number): void {
    this.owner.drain(graceMs);
  }

  goaway(connection: Connection, address: string, session: string): boolean {
    if (!isAddress(address)) return false;
    // Told twice: it is on its way already.
    if (connection !== this.current) return true;
    this.addresses[0] = address;
    this.at = 0;
    this.credential = session;
    this.leaving.add(connection);
    this.dial();
    connection.leave();
    return true;
  }

  ended(connection: Connection, end: ConnectionEnd): void {
    this.leaving.delete(connection);
    const { state } = this;
    if (state.kind !== 'dialling' && state.kind !== 'serving') return;
    if (state.connection !== connection) return; // L1
    if (end.kind === 'fatal') {
      this.halt();
      this.owner.refused(end.reason);
      return;
    }
    if (!this.away) this.owner.lost(this.address, end.reason);
    this.away = true;
    if (state.kind === 'dialling') {
      this.failedDials++;
      this.at = (this.at + 1) % this.addresses.length; // L4
    }
    this.backoff.held(end.uptimeMs);
    this.state = { kind: 'waiting', timer: setTimeout(() => this.dial(), this.backoff.next()) }; // L3
  }

  private dial(): void {
    this.state = { kind: 'dialling', connection: this.connect() };
  }

  private halt(): void {
    if (this.state.kind === 'waiting') clearTimeout(this.state.timer);
    this.state = { kind: 'stopped' };
  }
}
