import fc from 'fast-check';
import t from 'tap';
import {
  decideRefill,
  newRefill,
  type RefillDecision,
  type RefillSettings,
} from '../../src/control/sizing/refill.ts';

const SETTINGS: RefillSettings = { minReplicas: 2, maxReplicas: 50, idle: 5, scaled: false };

/** A pool whose pods are claimed: so many in each second; what is launched is there a second later. */
function refilled(
  claims: readonly number[],
  settings: Partial<RefillSettings> = {},
  coldStartMs = 1_000,
) {
  const state = newRefill(0, 0);
  let [unclaimed, claimed, total, coming] = [0, 0, 0, 0];
  return claims.map((wanted, i) => {
    unclaimed += coming;
    const taken = Math.min(wanted, unclaimed);
    unclaimed -= taken;
    claimed += taken;
    total += taken;
    const sample = { now: (i + 1) * 1_000, claims: total, unclaimed, claimed, coldStartMs };
    const decision = decideRefill(state, sample, { ...SETTINGS, ...settings });
    coming = decision.launch;
    unclaimed = Math.min(unclaimed, decision.desired);
    return { ...decision, unclaimed, claimed, taken };
  });
}
const times = (count: number, n: number): number[] => Array.from({ length: count }, () => n);

t.test(
  'it has its idle pods, and beside them those that are claimed while others start',
  async (t) => {
    t.match(refilled(times(5, 0)).at(-1), { desired: 5, launch: 0, unclaimed: 5 });
    const busy = refilled([...times(5, 0), ...times(20, 3)], { maxReplicas: 500 });
    t.match(busy.at(-1), { desired: 8, taken: 3, decidedBy: 'load' });
    t.ok(
      busy.slice(8).every((s) => s.taken === 3),
      'none finds it empty',
    );
    const slow = refilled([...times(5, 0), ...times(20, 3)], { maxReplicas: 500 }, 4_000);
    t.equal(slow.at(-1)?.desired, 17, 'slow starts need more of them');
    const rest = refilled([...times(5, 0), ...times(20, 3), ...times(50, 0)], { maxReplicas: 500 });
    t.equal(rest.at(-1)?.desired, 8, 'kept a while');
    const later = refilled([...times(5, 0), ...times(20, 3), ...times(150, 0)], {
      maxReplicas: 500,
    });
    t.match(later.at(-1), { desired: 5, unclaimed: 5 });
  },
);

t.test('claimed pods count towards its maximum, and status says that it was that', async (t) => {
  const full = refilled([...times(5, 0), ...times(40, 3)]);
  t.match(full.at(-1), { claimed: 50, desired: 0, launch: 0, decidedBy: 'maxReplicas' });
  t.match(refilled(times(3, 0), { idle: 0 }).at(-1), { desired: 2, decidedBy: 'minReplicas' });
  t.match(refilled(times(3, 0), { idle: 0, scaled: true }).at(-1), { decidedBy: 'scale' });
});

t.test('its bounds win, and launches are limited in rate', async () => {
  const settings = fc.record({
    minReplicas: fc.nat(40),
    maxReplicas: fc.integer({ min: 1, max: 200 }),
    idle: fc.nat(100),
  });
  fc.assert(
    fc.property(fc.array(fc.nat(60), { minLength: 1, maxLength: 100 }), settings, (claims, s) => {
      const all = refilled(claims, s);
      const launched = (from: number, to: number) =>
        all.slice(from, to).reduce((sum: number, d: RefillDecision) => sum + d.launch, 0);
      return all.every((d, i) => {
        const room = Math.max(0, s.maxReplicas - d.claimed);
        const within = d.desired <= room && d.desired >= Math.min(s.minReplicas, room);
        return within && launched(Math.max(0, i - 9), i + 1) <= 20 + 10 * 10;
      });
    }),
  );
});
