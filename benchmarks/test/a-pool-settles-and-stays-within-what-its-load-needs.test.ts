/** The policies of misses and of sizing together, against a pool by a fake clock: what `--only scaling` replays for real. */
import t from 'tap';
import { idealPods, turnsOf } from '../src/scaling/ideal.ts';
import { PoolRun, SETTINGS } from '../src/scaling/model.ts';
import { arrivalsOf, SHAPES } from '../src/scaling/shapes.ts';

const SERVICE_MS = 100;
const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);

const MACHINES = [
  { name: 'fast launches', coldStartMs: 150, launchesAtOnce: 60 },
  { name: 'slow launches', coldStartMs: 500, launchesAtOnce: 60 },
  { name: 'few launches at once', coldStartMs: 150, launchesAtOnce: 8 },
];

for (const shape of SHAPES) {
  for (const { name, coldStartMs, launchesAtOnce } of MACHINES) {
    t.test(`${shape.name}, ${name}`, async (t) => {
      for (const seed of [1, 2, 3, 4, 5]) {
        const arrivals = arrivalsOf(shape, seed);
        const { durationMs } = shape;
        const outcome = new PoolRun({
          ...{ arrivals, durationMs, coldStartMs, launchesAtOnce },
          ...{ serviceMs: SERVICE_MS, keepAliveMs: 20_000 },
        }).run();
        // Waiting for one's turn included.
        const measured = sum(outcome.coldStarts) / outcome.coldStarts.length;
        // Of a burst the last pod's: all of it has waited for its turn.
        const longest = Math.max(...outcome.coldStarts);
        const ideal = idealPods({
          ...{ arrivals, durationMs, coldStartMs: measured },
          ...{ serviceMs: SERVICE_MS, scaleDownDelayMs: SETTINGS.scaleDownDelayMs },
        });
        const ratio = sum(outcome.pods.slice(0, ideal.length)) / sum(ideal);
        t.ok(ratio <= 1.3, `pod-seconds over the ideal: ${ratio.toFixed(3)}`);

        for (const step of shape.stepsAt) {
          const settled = step + 3 * longest;
          const waits = outcome.waits.filter((_, i) => {
            const at = arrivals[i] as number;
            return at >= settled && at < step + 5_000;
          });
          const late = waits.filter((wait) => wait > longest).length;
          const share = late / waits.length;
          t.ok(share <= 0.01, `settled: ${late} of ${waits.length} waited for a cold start`);
        }
        for (const { fromMs, toMs } of shape.steady) {
          const pods = outcome.pods.slice(fromMs / 1_000, toMs / 1_000).map(Math.round);
          const turns = turnsOf(pods);
          t.ok(turns <= 2, `steady load: ${turns} turns in ${pods.join(' ')}`);
        }
        t.equal(outcome.waits.length, arrivals.length, 'every call was served');
      }
    });
  }
}

t.test('a steady load, whatever it is, does not make a pool grow and shrink', async (t) => {
  const minutes = 15;
  const durationMs = minutes * 60_000;
  for (const ratePerS of [1, 1.5, 3, 8, 20, 60, 150]) {
    const { pods } = new PoolRun({
      arrivals: arrivalsOf({ durationMs, rateOf: () => ratePerS }, 7),
      ...{ durationMs, coldStartMs: 150, launchesAtOnce: 8 },
      ...{ serviceMs: SERVICE_MS, keepAliveMs: 300_000 },
    }).run();
    const steady = pods.slice(120).map(Math.round);
    const [least, most] = [Math.min(...steady), Math.max(...steady)];
    t.ok(most - least <= Math.max(1, 0.15 * least), `${ratePerS} a second: ${least} to ${most}`);
    const turns = turnsOf(steady);
    t.ok(turns < minutes, `${ratePerS} a second: ${turns} turns`);
  }
});
