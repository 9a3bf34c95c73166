/** The order of a hand-over, on a clock that stands still; that no call fails meanwhile is the cluster's test. */
import t from 'tap';
import { HandOver } from '../../src/hand-over.ts';
import { FakeClock } from './fakes.ts';

function setUp() {
  const clock = new FakeClock();
  const told: string[] = [];
  const calls = { live: 0 };
  const handOver = new HandOver({
    ask: () => void told.push('ask'),
    sendPods: (address, force) => void told.push(`${address}${force ? ' by force' : ''}`),
    closeConnections: () => void told.push('close'),
    isEmpty: () => calls.live === 0,
    done: () => void told.push('done'),
    graceMs: 10_000,
    now: () => clock.now(),
    after: (ms, callback) => void clock.after(ms, callback),
  });
  return { clock, told, calls, handOver };
}

t.test('without a successor it drains at once', async (t) => {
  const { handOver, told } = setUp();
  handOver.begin();
  t.strictSame(told, ['ask']);
  handOver.onSuccessor(null);
  t.strictSame(told, ['ask', 'done']);
});

t.test('pods stay until clients are led away, and calls have ended before it does', async (t) => {
  const { clock, handOver, told, calls } = setUp();
  calls.live = 1;
  handOver.begin();
  handOver.onSuccessor('wss://next');
  clock.advance(1_000);
  t.strictSame(told, ['ask', 'close'], 'clients may still come here');
  clock.advance(1_000);
  t.strictSame(told, ['ask', 'close', 'wss://next']);
  calls.live = 0;
  clock.advance(20);
  t.strictSame(told, ['ask', 'close', 'wss://next', 'wss://next by force', 'done']);
});

t.test('what does not end within the grace is not waited for', async (t) => {
  const { clock, handOver, told, calls } = setUp();
  calls.live = 1;
  handOver.begin();
  handOver.onSuccessor('wss://next');
  clock.advance(11_000);
  t.not(told.at(-1), 'done');
  clock.advance(1_000);
  t.equal(told.at(-1), 'done');
});

t.test('one that was deposed hands over unasked; one that nobody follows goes on', async (t) => {
  const { clock, handOver, told } = setUp();
  handOver.onSuccessor(null);
  t.strictSame(told, []);
  handOver.onSuccessor('wss://next');
  clock.advance(2_000);
  t.strictSame(told, ['close', 'wss://next', 'wss://next by force', 'done']);
  handOver.onSuccessor('wss://another');
  handOver.begin();
  t.equal(told.length, 4, 'once');
});
