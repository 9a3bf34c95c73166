/**
 * Sends functions' code to their pods beside all else that the scheduler writes: a bundle may be tens of MiB, and many pods may want
 * theirs at once.
 *
 * Invariants:
 *  C1. Of all code together at most TURN_BYTES leave in one turn of the event loop, a piece for each pod in turn: what a call waits behind
 *      does not grow with the bundles on their way, nor with their number.
 *  C2. A pod whose socket takes no more holds none of the others up; it comes back when there is room.
 */

/** Copied and written within a few hundred microseconds; as much again each turn fills any network. */
export const TURN_BYTES = 262_144;

export interface CodeTaker {
  /** Writes the next piece. False: there is none, or no room for one: who has more adds itself again. */
  sendPiece(): boolean;
}

export class CodePump {
  private readonly takers = new Set<CodeTaker>();
  private readonly pieces: number;
  private scheduled = false;

  /** @param pieceBytes of the longest piece */
  constructor(pieceBytes: number) {
    this.pieces = Math.floor(TURN_BYTES / pieceBytes);
  }

  add(taker: CodeTaker): void {
    this.takers.add(taker);
    this.schedule();
  }

  delete(taker: CodeTaker): void {
    this.takers.delete(taker);
  }

  private schedule(): void {
    if (this.scheduled || this.takers.size === 0) return;
    this.scheduled = true;
    setImmediate(this.run);
  }

  private readonly run = (): void => {
    this.scheduled = false;
    const { takers } = this;
    for (let left = this.pieces; left > 0; left--) {
      const [taker] = takers;
      if (taker === undefined) return;
      takers.delete(taker);
      if (taker.sendPiece()) takers.add(taker); // C1: behind the others
    }
    this.schedule();
  };
}
