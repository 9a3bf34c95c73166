/** Time as a parameter: what decides by time asks a Clock, so that tests move it themselves. */
export interface Clock {
  /** Milliseconds that only go forward, from an arbitrary start: for durations and deadlines. */
  now(): number;
  /** Epoch milliseconds: for what leaves this process. */
  epoch(): number;
  /** Calls back once, no earlier than after `ms`. */
  after(ms: number, callback: () => void): { cancel(): void };
}

export const systemClock: Clock = {
  now: () => performance.now(),
  epoch: () => Date.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(timer) };
  },
};
