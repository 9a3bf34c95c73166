import t from 'tap';
import {
  decideMiss,
  type GenericPods,
  type MissInput,
  NO_GENERIC_PODS,
} from '../../src/scheduler/placement.ts';

const empty: MissInput = {
  queued: 1,
  headWaitMs: 0,
  timeoutMs: 30_000,
  stalledMs: 0,
  servingSlots: 0,
  comingSlots: 0,
  slotsPerPod: 1,
  poolPods: 0,
  maxPods: 10,
  jobs: 0,
  maxJobs: 4,
  serviceMs: undefined,
  coldStartMs: 100,
  comingForMs: 0,
  generic: NO_GENERIC_PODS,
};
const generic = (pods: Partial<GenericPods>): { generic: GenericPods } => ({
  generic: { ...NO_GENERIC_PODS, ...pods },
});

// The policy as a table: what is different from an empty pool with one invocation waiting, and what is decided.
const table: [
  string,
  Partial<MissInput>,
  { kind: string; pods?: number; launch?: number; grow?: number; jobs?: number; reason?: RegExp },
][] = [
  ['an empty pool grows by one', {}, { kind: 'grow', pods: 1, jobs: 0 }],
  ['a pod on its way covers the miss', { comingSlots: 1, poolPods: 1 }, { kind: 'wait' }],
  [
    'a burst on an empty pool launches what its concurrency needs',
    { queued: 7, slotsPerPod: 4 },
    { kind: 'grow', pods: 2, jobs: 0 },
  ],
  [
    'and no more for those that come while they start',
    { queued: 8, slotsPerPod: 4, comingSlots: 8, poolPods: 2 },
    { kind: 'wait' },
  ],
  [
    'short calls wait for a slot that is expected before a pod would be ready',
    { queued: 20, servingSlots: 1, poolPods: 1, serviceMs: 2 },
    { kind: 'wait' },
  ],
  [
    'a longer queue of them launches what serves it within a cold start',
    { queued: 20, servingSlots: 1, poolPods: 1, serviceMs: 10 },
    { kind: 'grow', pods: 1, jobs: 0 },
  ],
  [
    'long calls get a slot each',
    { queued: 3, servingSlots: 1, poolPods: 1, serviceMs: 5_000 },
    { kind: 'grow', pods: 3, jobs: 0 },
  ],
  [
    'a queue that stands still for longer than calls used to take shows that they take longer',
    { queued: 2, servingSlots: 1, poolPods: 1, serviceMs: 1, stalledMs: 400 },
    { kind: 'grow', pods: 2, jobs: 0 },
  ],
  [
    'starts that take longer than they used to do not launch more pods for what waits meanwhile',
    { queued: 40, comingSlots: 4, poolPods: 5, servingSlots: 1, serviceMs: 100, comingForMs: 800 },
    { kind: 'wait' },
  ],
  [
    'pods that do not come at all are no measure',
    {
      queued: 1_000,
      comingSlots: 4,
      poolPods: 5,
      servingSlots: 1,
      serviceMs: 100,
      comingForMs: 60_000,
    },
    { kind: 'grow', pods: 5, jobs: 0 },
  ],
  [
    'what the pool cannot hold becomes Jobs',
    { queued: 5, poolPods: 8, servingSlots: 8, serviceMs: 1_000 },
    { kind: 'grow', pods: 2, jobs: 3 },
  ],
  [
    'beyond the maximum: a Job',
    { queued: 2, poolPods: 10, servingSlots: 10, serviceMs: 1_000 },
    { kind: 'job', jobs: 2 },
  ],
  [
    'ten busy slots of a second each: the next is free within a cold start of a tenth',
    { queued: 1, poolPods: 10, servingSlots: 10, serviceMs: 1_000 },
    { kind: 'wait' },
  ],
  [
    'Jobs within their budget',
    { queued: 9, poolPods: 10, servingSlots: 10, jobs: 3, serviceMs: 1_000 },
    { kind: 'job', jobs: 1 },
  ],
  [
    'nothing left to launch',
    { queued: 9, poolPods: 10, servingSlots: 14, jobs: 4, serviceMs: 1_000 },
    { kind: 'exhausted' },
  ],
  [
    'a maximum that was lowered below what lives launches nothing',
    { queued: 9, poolPods: 12, servingSlots: 12, maxPods: 10, maxJobs: 0, serviceMs: 1_000 },
    { kind: 'exhausted' },
  ],
  [
    'a generic pod that idles comes before growing',
    generic({ idle: 3, room: 5 }),
    { kind: 'generic', pods: 1, launch: 0, grow: 0, jobs: 0 },
  ],
  [
    'a burst claims what its concurrency needs',
    { queued: 7, slotsPerPod: 4, ...generic({ idle: 5 }) },
    { kind: 'generic', pods: 2, launch: 0, grow: 0 },
  ],
  [
    'one that is being specialized covers the miss',
    { comingSlots: 1, poolPods: 1, ...generic({ idle: 5 }) },
    { kind: 'wait', reason: /on their way/ },
  ],
  [
    'what the generic pool has not it launches, up to its room; the rest grows',
    { queued: 9, ...generic({ idle: 2, coming: 1, room: 3 }) },
    { kind: 'generic', pods: 2, launch: 3, grow: 3, jobs: 0 },
  ],
  [
    'a generic pod on its way is waited for',
    generic({ coming: 1, room: 3 }),
    { kind: 'wait', reason: /generic pod is on its way/ },
  ],
  [
    'an empty pool that may grow launches for it',
    generic({ room: 3 }),
    { kind: 'generic', pods: 0, launch: 1, grow: 0 },
  ],
  [
    'claimed pods count towards the maximum',
    { queued: 5, servingSlots: 8, poolPods: 8, serviceMs: 1_000, ...generic({ idle: 9 }) },
    { kind: 'generic', pods: 2, launch: 0, grow: 0, jobs: 3 },
  ],
  [
    'at its maximum it claims nothing',
    { queued: 2, poolPods: 10, servingSlots: 10, serviceMs: 1_000, ...generic({ idle: 9 }) },
    { kind: 'job', jobs: 2 },
  ],
  [
    'a full generic pool that still hands out is waited for',
    generic({ inLine: true }),
    { kind: 'wait', reason: /its turn/ },
  ],
  [
    'for half of its time',
    { headWaitMs: 16_000, ...generic({ inLine: true }) },
    { kind: 'grow', pods: 1 },
  ],
  ['a full one that hands out nothing is not', generic({}), { kind: 'grow', pods: 1, jobs: 0 }],
  [
    'a function whose pods fail claims nothing',
    { maxPods: 0, maxJobs: 0, ...generic({ idle: 5, room: 5, inLine: true }) },
    { kind: 'exhausted' },
  ],
];

for (const [name, difference, expected] of table) {
  t.test(name, async (t) => {
    const decision = decideMiss({ ...empty, ...difference });
    t.match(decision, expected);
    t.ok(decision.reason.length > 0, 'it says why');
  });
}
