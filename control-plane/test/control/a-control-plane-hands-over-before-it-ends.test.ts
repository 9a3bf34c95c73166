/** The order of a hand-over, on a clock that stands still; that no call fails meanwhile is the cluster's test. */
import t from 'tap';
import { HandOver } from '../../src/hand-over.ts';
import { FakeClock } from './fakes.ts';

const NEXT = { address: 'wss://next', clientAddress: 'http://next' };

function setUp() {
  const clock = new FakeClock();
  const told: string[] = [];
  const calls = { live: 0 };
  const forwarded = { live: 0, lastRequestAt: 0 };
  const handOver = new HandOver({
    ask: () => void told.push('ask'),
    sendPods: (address, force) => void told.push(`${address}${force ? ' by force' : ''}`),
    sendClients: (address) => void told.push(address),
    isEmpty: () => calls.live === 0,
    forwarded: () => forwarded,
    done: () => void told.push('done'),
    graceMs: 10_000,
    now: () => clock.now(),
    after: (ms, callback) => void clock.after(ms, callback),
  });
  return { clock, told, calls, forwarded, handOver };
}

t.test('without a successor it drains at once', async (t) => {
  const { handOver, told } = setUp();
  handOver.begin();
  t.strictSame(told, ['ask']);
  handOver.onSuccessor(null);
  t.strictSame(told, ['ask', 'done']);
});

t.test('clients and pods go at once, and it ends when all has ended', async (t) => {
  const { clock, handOver, told, calls } = setUp();
  calls.live = 1;
  handOver.begin();
  handOver.onSuccessor(NEXT);
  const gone = ['ask', 'http://next', 'wss://next'];
  t.strictSame(told, gone);
  clock.advance(4_000);
  t.strictSame(told, gone, 'a call still runs');
  calls.live = 0;
  clock.advance(20);
  t.strictSame(told, [...gone, 'wss://next by force', 'done']);
});

t.test('with nothing to do it stays for those who are still led here', async (t) => {
  const { clock, handOver, told, forwarded } = setUp();
  const start = clock.now();
  handOver.begin();
  handOver.onSuccessor(NEXT);
  clock.advance(2_900);
  t.not(told.at(-1), 'done', 'some node may not have heard of the next one');
  forwarded.lastRequestAt = start + 2_900;
  clock.advance(900);
  t.not(told.at(-1), 'done', 'one has not');
  forwarded.live = 1;
  clock.advance(2_000);
  t.not(told.at(-1), 'done', 'what was passed on is not answered yet');
  forwarded.live = 0;
  clock.advance(20);
  t.equal(told.at(-1), 'done');
});

t.test('what does not end within the grace is not waited for', async (t) => {
  for (const busy of ['calls', 'forwarded'] as const) {
    const all = setUp();
    all[busy].live = 1;
    all.handOver.begin();
    all.handOver.onSuccessor(NEXT);
    all.clock.advance(9_900);
    t.not(all.told.at(-1), 'done', busy);
    all.clock.advance(200);
    t.equal(all.told.at(-1), 'done', busy);
  }
});

t.test('one that was deposed hands over unasked; one that nobody follows goes on', async (t) => {
  const { clock, handOver, told } = setUp();
  handOver.onSuccessor(null);
  t.strictSame(told, []);
  handOver.onSuccessor(NEXT);
  clock.advance(4_000);
  t.strictSame(told, ['http://next', 'wss://next', 'wss://next by force', 'done']);
  handOver.onSuccessor({ address: 'wss://another', clientAddress: 'http://another' });
  handOver.begin();
  t.equal(told.length, 4, 'once');
});
