/**
 * Exponential backoff with full jitter (Brooker, "Exponential backoff and jitter", AWS Architecture Blog, 2015): a delay
 * between none and base x 2^(retries made before), at most the cap. Pure.
 * @param random from 0 to 1, 1 excluded
 */
export function fullJitter(
  random: number,
  baseDelayMs: number,
  maxDelayMs: number,
  retriesMade: number,
): number {
  return random * Math.min(maxDelayMs, baseDelayMs * 2 ** retriesMade);
}
