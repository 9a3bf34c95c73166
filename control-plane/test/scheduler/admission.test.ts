import fc from 'fast-check';
import t from 'tap';
import { type AdmissionInput, refuse, retryAfterSeconds } from '../../src/scheduler/admission.ts';

const idle: AdmissionInput = {
  freeSlot: false,
  queued: 0,
  maxQueued: 10,
  heldBytes: 100,
  maxHeldBytes: 1_000,
  totalHeldBytes: 100,
  maxTotalHeldBytes: 10_000,
  servingSlots: 1,
  serviceMs: 100,
  budgetMs: 1_000,
};

const table: [string, Partial<AdmissionInput>, string | undefined][] = [
  ['an empty queue admits', {}, undefined],
  ['a full one refuses', { queued: 10 }, 'queue_full'],
  ['a free slot admits with a queue of length 0', { freeSlot: true, maxQueued: 0 }, undefined],
  ['without one a queue of length 0 refuses', { maxQueued: 0 }, 'queue_full'],
  ['bytes of the function', { heldBytes: 1_001, freeSlot: true }, 'queue_full'],
  ['bytes of all functions', { totalHeldBytes: 10_001, freeSlot: true }, 'overloaded'],
  ['a wait beyond the deadline', { queued: 9, budgetMs: 900 }, 'deadline_unreachable'],
  ['a wait within it', { queued: 9, budgetMs: 1_000 }, undefined],
  ['more slots shorten the wait', { queued: 9, budgetMs: 900, servingSlots: 2 }, undefined],
  [
    'a pool that starts tells nothing of the wait',
    { queued: 5, servingSlots: 0, budgetMs: 1 },
    undefined,
  ],
];
for (const [name, difference, expected] of table) {
  t.test(name, async (t) => {
    t.equal(refuse({ ...idle, ...difference }), expected);
  });
}

t.test(
  'whatever was measured, an empty queue within its bytes admits: nothing gets stuck refusing',
  async () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, noNaN: true }),
        fc.nat(),
        fc.integer({ min: 1 }),
        (serviceMs, servingSlots, budgetMs) => {
          return refuse({ ...idle, serviceMs, servingSlots, budgetMs }) === undefined;
        },
      ),
    );
  },
);

t.test(
  'Retry-After is a whole number of seconds from 1 to 60 that grows with the queue',
  async (t) => {
    const at = (queued: number) => retryAfterSeconds({ queued, servingSlots: 2, serviceMs: 500 });
    t.equal(at(0), 1);
    t.equal(at(19), 5);
    t.equal(at(100_000), 60);
    t.equal(retryAfterSeconds({ queued: 5, servingSlots: 0, serviceMs: undefined }), 1);
  },
);
