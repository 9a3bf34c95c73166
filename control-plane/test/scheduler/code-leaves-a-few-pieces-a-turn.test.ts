import t from 'tap';
import { CodePump, type CodeTaker, TURN_BYTES } from '../../src/scheduler/code-pump.ts';

const PIECE = TURN_BYTES / 4;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Has this many pieces; notes each by its name. */
class Taker implements CodeTaker {
  blocked = false;
  private left: number;
  private readonly note: () => void;
  constructor(left: number, note: () => void) {
    this.left = left;
    this.note = note;
  }
  sendPiece(): boolean {
    if (this.blocked || this.left === 0) return false;
    this.left -= 1;
    this.note();
    return this.left > 0;
  }
}

t.test('a turn takes a few pieces in all, one for each in turn', async (t) => {
  const pump = new CodePump(PIECE);
  let sent = '';
  const taker = (name: string, pieces: number) =>
    new Taker(pieces, () => {
      sent += name;
    });
  for (const one of [taker('a', 5), taker('b', 1), taker('c', 3)]) pump.add(one);
  t.equal(sent, '', 'nothing in the turn that asks');
  await turn();
  t.equal(sent, 'abca');
  await turn();
  t.equal(sent, 'abcacaca');
  await turn();
  t.equal(sent, 'abcacacaa');
  await turn();
  t.equal(sent.length, 9, 'and then rests');
});

t.test('a socket without room holds nobody up, and goes on when it has some', async (t) => {
  const pump = new CodePump(PIECE);
  let sent = '';
  const slow = new Taker(2, () => {
    sent += 's';
  });
  const quick = new Taker(2, () => {
    sent += 'q';
  });
  slow.blocked = true;
  pump.add(slow);
  pump.add(quick);
  await turn();
  t.equal(sent, 'qq');
  slow.blocked = false;
  pump.add(slow);
  pump.add(slow);
  await turn();
  t.equal(sent, 'qqss', 'once, though it asked twice');
  const gone = new Taker(1, () => t.fail('its socket has closed'));
  pump.add(gone);
  pump.delete(gone);
  await turn();
});
