/** How long the answer to a write of a function waits until the change serves: `?wait=`. */

const DEFAULT_WAIT_S = 30;
export const MAX_WAIT_S = 120;

/** Milliseconds; undefined where the query does not say it right. `false` is 0, `true` the default. */
export function writeWaitMs(query: string): number | undefined {
  const wait = new URLSearchParams(query).get('wait');
  if (wait === null || wait === 'true') return DEFAULT_WAIT_S * 1_000;
  if (wait === 'false') return 0;
  const seconds = /^[0-9]{1,4}$/.test(wait) ? Number(wait) : Number.NaN;
  return seconds <= MAX_WAIT_S ? seconds * 1_000 : undefined;
}
