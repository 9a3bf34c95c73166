import { CLOSE } from '@simmer/protocol/frames';
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { environmentOf, PodPeer } from './pod-peer.ts';
import { RawSocket } from './raw-socket.ts';
import { Simmer } from './simmer.ts';

const BOMBS = 100;
/** One bomb of five bytes would cost 228 MiB. */
const BOMB_LIMIT_BYTES = 200_000_000;

const simmer = await Simmer.start(t, [
  { name: 'one', spec: { minReplicas: 1, maxReplicas: 1 } },
  { name: 'two', spec: { minReplicas: 1, maxReplicas: 1 } },
]);
const pods = new Map([
  ['one', await simmer.pids('one')],
  ['two', await simmer.pids('two')],
]);

async function peer(act: (peer: PodPeer) => void): Promise<number> {
  const it = await PodPeer.open(simmer.podPort);
  act(it);
  return await it.untilClosed();
}

t.test('what is no frame ends the socket', async (t) => {
  const garbage = [
    Buffer.from('hello'),
    Buffer.alloc(0),
    Buffer.from([0xc1]),
    Buffer.alloc(1_000, 0xff),
    Buffer.from('dd01c9c380', 'hex'),
    Buffer.from('93'.repeat(1_000), 'hex'),
    Buffer.from('c600ffffff', 'hex'),
  ];
  for (const bytes of garbage) t.equal(await peer((p) => p.bytes(bytes)), CLOSE.malformed.code);
  t.equal(await peer((p) => p.bytes('text')), CLOSE.malformed.code);
});

t.test('messages that claim more than they hold cost nothing', async (t) => {
  const before = simmer.residentBytes();
  const bomb = Buffer.from('dd01c9c380', 'hex');
  for (let i = 0; i < BOMBS; i++) await peer((p) => p.bytes(bomb));
  t.ok(simmer.residentBytes() - before < BOMB_LIMIT_BYTES);
});

t.test('a message over the limit of the link ends the socket', async (t) => {
  t.equal(await peer((p) => p.bytes(Buffer.alloc(2_000_000))), 1006);
});

t.test('bytes that are no WebSocket, and no subprotocol of ours', async (t) => {
  const socket = await RawSocket.open(simmer.podPort);
  socket.write('\x00\x01\x02 garbage that goes on for a while\r\n\r\n');
  t.match(await socket.untilClosed(), /^HTTP\/1.1 505 /);
  const plain = await RawSocket.open(simmer.podPort);
  plain.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  t.match(await plain.until('an answer', /WebSocket$/), /^HTTP\/1.1 426 /);
  plain.end();
  const other = await RawSocket.open(simmer.podPort);
  other.write(
    'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  t.match(await other.until('an answer', /required$/), /^HTTP\/1.1 400 /);
  other.end();
});

t.test('frames before a hello', async (t) => {
  const closes = await Promise.all([
    peer((p) => p.send({ kind: 'ready', digest: '' })),
    peer((p) => p.send({ kind: 'pong', nonce: 1 })),
    peer((p) =>
      p.send({ kind: 'result', stream: 1, outcome: 'ok', code: '', message: '', body: null }),
    ),
  ]);
  for (const code of closes) t.equal(code, CLOSE.violation.code);
});

t.test('a forged token, and another version of the protocol', async (t) => {
  t.equal(await peer((p) => p.hello({})), CLOSE.unauthorized.code);
  t.equal(await peer((p) => p.hello({ credential: '' })), CLOSE.unauthorized.code);
  t.equal(await peer((p) => p.hello({ version: 2 })), CLOSE.version.code);
});

t.test('the token of a pod that runs', { skip: process.platform !== 'linux' }, async (t) => {
  const [one, two] = [...pods.values()].map(([pid]) => environmentOf(pid as number));
  const credential = one?.[RUNTIME_ENV.token] as string;
  const uid = one?.[RUNTIME_ENV.podUid] as string;
  const other = two?.[RUNTIME_ENV.podUid] as string;
  t.ok(credential && uid && other && uid !== other);
  t.equal(
    await peer((p) => p.hello({ credential, uid })),
    CLOSE.unauthorized.code,
    'is spent, for another process',
  );
  t.equal(
    await peer((p) => p.hello({ credential, uid: other })),
    CLOSE.forbidden.code,
    'is not good for another pod',
  );
});

t.test('none of it harmed the pods or the server', async (t) => {
  for (const [name, pids] of pods) {
    const answer = await simmer.invoke(name);
    t.equal(answer.status, 200);
    t.equal(answer.json.output.pid, pids[0]);
    t.equal((await simmer.pool(name)).lost, 0);
  }
  t.ok(
    simmer.logs().some((l) => l.message === 'pod refused'),
    'refusals are logged',
  );
  t.equal(simmer.stderr, '');
});
