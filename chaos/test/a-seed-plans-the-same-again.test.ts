import t from 'tap';
import { planOf, stepOf } from '../src/plan.ts';
import { Random } from '../src/random.ts';

t.test('the same seed plans the same faults, changes and steps; another seed others', async (t) => {
  t.same(planOf(7, 60), planOf(7, 60));
  t.notSame(planOf(7, 60).faults, planOf(8, 60).faults);
  const steps = (seed: number) => Array.from({ length: 200 }, (_, n) => stepOf(seed, n % 20, n));
  t.same(steps(7), steps(7));
  t.notSame(steps(7), steps(8));
});

t.test('every kind of fault, route, conduct and follow-up comes in a minute', async (t) => {
  const { faults, changes } = planOf(1, 60);
  t.same(new Set(faults.map((fault) => fault.kind)), new Set(['kill', 'freeze']));
  const frozen = faults.filter((fault) => fault.kind === 'freeze');
  t.ok(frozen.some((fault) => fault.thawAfterMs === 0) && frozen.some((f) => f.thawAfterMs > 0));
  t.ok(changes.some((change) => change.code) && changes.some((change) => !change.code));
  const steps = Array.from({ length: 3_000 }, (_, n) => stepOf(1, n % 20, n));
  const count = (names: readonly string[]) => new Set(names).size;
  t.equal(count(steps.map((step) => step.route)), 5);
  t.equal(count(steps.map((step) => step.function)), 5);
  t.equal(count(steps.map((step) => step.work.do)), 6);
  t.equal(count(steps.map((step) => step.follow.kind)), 4);
  const stages = steps.map(({ conduct: c }) => (c.kind === 'hangs-up' ? c.stage : c.kind));
  t.equal(count(stages), 9);
  t.equal(
    count(steps.map((step) => step.op)),
    steps.length,
    'each operation has a name of its own',
  );
});

t.test('faults fall within their time', async (t) => {
  const { faults, warmUpMs, faultsMs } = planOf(3, 600);
  t.equal(warmUpMs + faultsMs, 600_000);
  t.ok(faults.length > 200);
  t.ok(faults.every(({ at, victim }) => at >= 0 && at < faultsMs && victim >= 0 && victim < 1));
});

t.test('random numbers are spread evenly', async (t) => {
  const random = new Random('spread');
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 100_000; i++) {
    const tenth = Math.floor(random.next() * 10);
    tenths[tenth] = (tenths[tenth] as number) + 1;
  }
  for (const count of tenths) t.ok(count > 9_600 && count < 10_400, `${count}`);
});
