/** Keep-alive by the clock alone: the last pods go once the function has idled for `keepAliveMs`. It learns nothing. */
import type { IdlePlan, KeepAlive, KeepAlivePolicy, Traits } from './policy.ts';

const FIXED: KeepAlive = {
  called() {},
  plan(_now: number, { keepAliveMs }: Traits): IdlePlan {
    return {
      keepMs: keepAliveMs,
      prewarm: undefined,
      reason: `idle for less than ${keepAliveMs / 1_000} s`,
    };
  },
};

export const fixedKeepAlive: KeepAlivePolicy = {
  name: 'Fixed',
  of: () => FIXED,
  forget() {},
};
