import t from 'tap';
import { held, holderOf, LEASE_MS, type Lease, mayTake, released } from '../src/lease/record.ts';

const claim = (identity: string, serving = false) => ({
  identity,
  address: `wss://${identity}`,
  serving,
});
const at = Date.UTC(2026, 0, 1);
const lease = (identity: string): Lease => held(undefined, 'simmer', claim(identity, true), at);

t.test(
  'one that is free, given up or its own may be taken; another’s only once it expired',
  async (t) => {
    t.equal(mayTake(undefined, 'a', 0), true);
    t.equal(mayTake(released(lease('b')), 'a', 0), true);
    t.equal(mayTake(lease('a'), 'a', 0), true);
    t.equal(mayTake(lease('b'), 'a', LEASE_MS), false);
    t.equal(mayTake(lease('b'), 'a', LEASE_MS + 1), true);
  },
);

t.test('a renewal keeps since when it is held, a taking counts a transition', async (t) => {
  const first = lease('a');
  const renewed = held(first, 'simmer', claim('a', true), at + 2_000);
  t.equal(renewed.spec?.acquireTime, first.spec?.acquireTime);
  t.equal(renewed.spec?.renewTime, '2026-01-01T00:00:02.000000Z', 'MicroTime');
  t.equal(renewed.spec?.leaseTransitions, 0);
  const taken = held(renewed, 'simmer', claim('b'), at + 30_000);
  t.equal(taken.spec?.leaseTransitions, 1);
  t.match(holderOf(taken), { identity: 'b', serving: false }, 'the other’s word is not this one’s');
});

t.test('one that was given up is nobody’s', async (t) => {
  t.equal(holderOf(released(lease('a'))), undefined);
  t.equal(holderOf(undefined), undefined);
});
