import type { LookupAddress } from 'node:dns';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { makeCertificates } from '../../../runtime/test/certificates.ts';
import { CallbackSender } from '../../src/control/callbacks/sender.ts';
import { allowedTargetOf, CallbackTargets } from '../../src/shared/callback-targets.ts';
import { hang, ok, Receiver, status } from '../server/receiver.ts';

type Octets = readonly [number, number, number, number];

/** As the documentation has it. */
function isForbidden([a, b, c, d]: Octets): boolean {
  const metadata = ['100.100.100.200', '168.63.129.16', '192.0.0.192'];
  return (
    [0, 127].includes(a) ||
    (a === 169 && b === 254) ||
    a >= 224 ||
    metadata.includes([a, b, c, d].join('.'))
  );
}

const number = ([a, b, c, d]: Octets) => ((a * 256 + b) * 256 + c) * 256 + d;
const hex = (n: number) => n.toString(16);
const groups = ([a, b, c, d]: Octets) => `${hex(a * 256 + b)}:${hex(c * 256 + d)}`;

/** One address as a URL may write it, and as a resolver may answer it. */
const HOSTS: readonly ((o: Octets) => string)[] = [
  (o) => o.join('.'),
  (o) => String(number(o)),
  (o) => `0x${hex(number(o))}`,
  (o) => o.map((n) => `0${n.toString(8)}`).join('.'),
  (o) => o.map((n) => `0x${hex(n)}`).join('.'),
  ([a, b, c, d]) => `${a}.${b}.${c * 256 + d}`,
  ([a, b, c, d]) => `${a}.${(b * 256 + c) * 256 + d}.`,
  (o) => `[::ffff:${groups(o)}]`,
  (o) => `[::ffff:${o.join('.')}]`,
  (o) => `[0:0:0:0:0:FFFF:${groups(o)}]`,
  (o) => `[64:ff9b::${groups(o)}]`,
  (o) => `[2002:${groups(o)}::1]`,
];
const ADDRESSES: readonly ((o: Octets) => string)[] = [
  (o) => o.join('.'),
  (o) => `::ffff:${o.join('.')}`,
  (o) => `::ffff:${groups(o)}`,
  (o) => `64:ff9b::${groups(o)}`,
  (o) => `2002:${groups(o)}::1`,
];

const byte = fc.nat({ max: 255 });
const octets: fc.Arbitrary<Octets> = fc.oneof(
  fc.tuple(byte, byte, byte, byte),
  fc.tuple(fc.constantFrom(0, 127, 224, 239, 240, 255), byte, byte, byte),
  fc.tuple(fc.constant(169), fc.constant(254), byte, byte),
  fc.constantFrom<Octets[]>([169, 254, 169, 254], [100, 100, 100, 200], [10, 0, 0, 1]),
);

t.test('an IPv4 address, however it is written, is judged as itself', async () => {
  const targets = new CallbackTargets([]);
  fc.assert(
    fc.property(octets, fc.constantFrom(...HOSTS), fc.constantFrom(...ADDRESSES), (o, host, at) => {
      const may = !isForbidden(o);
      const url = `http://${host(o)}:8080/x`;
      if (targets.parse(url).ok !== may) throw new Error(url);
      if (targets.mayDial('example.com', at(o)) !== may) throw new Error(at(o));
    }),
    { numRuns: 5_000 },
  );
});

t.test('so is an IPv6 address; a zone changes nothing', async (t) => {
  const targets = new CallbackTargets([]);
  for (const [address, may] of [
    ...[['::', false] as const, ['::1', false] as const, ['0:0:0:0:0:0:0:1', false] as const],
    ...[['fe80::1', false] as const, ['febf::1', false] as const, ['fec0::1', false] as const],
    ...[['ff02::1', false] as const, ['fd00:ec2::254', false] as const],
    ...[['FD00:0EC2:0:0::254', false] as const, ['fd20:ce::254', false] as const],
    ...[['fd00::1', true] as const, ['fd00:ec2::253', true] as const],
    ...[['2001:db8::1', true] as const, ['2606:4700::1111', true] as const],
  ]) {
    t.equal(targets.mayDial('example.com', address), may, address);
    t.equal(targets.parse(`https://[${address}]/`).ok, may, `a URL of ${address}`);
    if (may) continue;
    t.equal(targets.mayDial('example.com', `${address}%eth0`), false, `${address}%eth0`);
  }
  t.equal(targets.mayDial('example.com', 'no address'), false);
  for (const host of ['localhost', 'LOCALHOST', 'localhost.', 'a.b.localhost']) {
    t.notOk(targets.parse(`http://${host}/`).ok, host);
  }
  t.ok(targets.parse('http://localhost.example.com/').ok);
});

t.test('what is allowed is, by name, address or network, and nothing beside it', async (t) => {
  const targets = new CallbackTargets([
    '127.0.0.2',
    'fe80::/64',
    'Receiver.test',
    '169.254.1.0/24',
  ]);
  t.ok(targets.parse('http://127.0.0.2/').ok);
  t.ok(targets.parse('http://[::ffff:127.0.0.2]/').ok);
  t.notOk(targets.parse('http://127.0.0.1/').ok);
  t.notOk(targets.parse('http://localhost/').ok);
  t.ok(targets.mayDial('x', 'fe80::1'));
  t.notOk(targets.mayDial('x', 'fe80:0:0:1::1'));
  t.ok(targets.mayDial('x', '169.254.1.7'));
  t.notOk(targets.mayDial('x', '169.254.169.254'));
  t.ok(targets.mayDial('receiver.test', '127.0.0.1'), 'wherever that name leads');
  t.ok(targets.mayDial('receiver.test.', '127.0.0.1'));
  t.notOk(targets.mayDial('other.test', '127.0.0.1'));
  for (const bad of [
    '',
    '1.2.3.4/33',
    '::/129',
    '1.2.3/8',
    '10.0.0.0/8/8',
    'a b',
    'x/8',
    'fe80::1%1',
  ]) {
    t.equal(allowedTargetOf(bad), undefined, bad);
  }
});

/** Where one is meant; and where none is, on a busy machine. */
const TIMEOUT_MS = 500;
const PATIENCE_MS = 60_000;

function senderOf(
  t: Pick<Test, 'teardown'>,
  names: Record<string, () => readonly LookupAddress[]>,
  allow: readonly string[] = [],
  timeoutMs = PATIENCE_MS,
): { send: (url: string) => ReturnType<CallbackSender['send']>; asked: string[] } {
  const asked: string[] = [];
  const sender = new CallbackSender({
    targets: new CallbackTargets(allow),
    ...{ timeoutMs, perOrigin: 4, now: () => 0 },
    async resolve(host) {
      asked.push(host);
      return names[host]?.() ?? [];
    },
  });
  t.teardown(() => sender.close());
  const body = Buffer.from('{}');
  return { asked, send: (url) => sender.send({ url: new URL(url), headers: {}, body }) };
}

const LOOPBACK: LookupAddress = { address: '127.0.0.1', family: 4 };

t.test('a name is judged by the address that is dialled, each time it is', async (t) => {
  const receiver = await Receiver.start(t);
  const { port } = receiver;
  const rebinding = [[{ address: '127.0.0.2', family: 4 }], [LOOPBACK]];
  const { send } = senderOf(
    t,
    {
      'private.test': () => [LOOPBACK],
      'mapped.test': () => [{ address: '::ffff:127.0.0.1', family: 6 }],
      'rebinding.test': () => rebinding.shift() ?? [],
      'both.test': () => [{ address: '169.254.169.254', family: 4 }, LOOPBACK],
      'good.test': () => [LOOPBACK],
    },
    ['good.test'],
  );
  for (const host of ['private.test', 'mapped.test', 'both.test', '127.0.0.1', '[::1]']) {
    const outcome = await send(`http://${host}:${port}/`);
    t.match(outcome, { kind: 'failed', retryable: false, reason: /callback-allow/ }, host);
  }
  for (let i = 0; i < 2; i++) {
    t.match(await send(`http://rebinding.test:${port}/`), { kind: 'failed', retryable: false });
  }
  t.equal(receiver.received.length, 0, 'nothing was sent');
  t.match(await send(`http://good.test:${port}/`), { kind: 'delivered', status: 200 });
  t.equal(receiver.received.length, 1);
});

t.test('of several addresses only those that are allowed are dialled', async (t) => {
  const receiver = await Receiver.start(t);
  const { send } = senderOf(
    t,
    { 'both.test': () => [{ address: '127.0.0.2', family: 4 }, LOOPBACK] },
    ['127.0.0.1'],
  );
  t.match(await send(`http://both.test:${receiver.port}/`), { kind: 'delivered' });
});

t.test('a redirect is resolved and judged as any URL', async (t) => {
  const target = await Receiver.start(t);
  const receiver = await Receiver.start(
    t,
    status(307, { location: `http://private.test:${target.port}/` }),
  );
  const { send, asked } = senderOf(
    t,
    { 'good.test': () => [LOOPBACK], 'private.test': () => [LOOPBACK] },
    ['good.test'],
  );
  const outcome = await send(`http://good.test:${receiver.port}/`);
  t.match(outcome, {
    kind: 'failed',
    retryable: false,
    reason: /private\.test leads to no address/,
  });
  t.same(asked, ['good.test', 'private.test']);
  t.equal(target.received.length, 0);
});

t.test('https: the name is proved, and nothing falls back to http', async (t) => {
  const { ca, cert, key } = await makeCertificates('good.test');
  setDefaultCACertificates([...getCACertificates('default'), ca]);
  const plain = await Receiver.start(t);
  let location = '';
  const server = createServer({ cert, key }, (request, response) => {
    request.resume();
    response.writeHead(location === '' ? 204 : 308, location === '' ? {} : { location }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const { send } = senderOf(
    t,
    {
      'good.test': () => [LOOPBACK],
      'other.test': () => [LOOPBACK],
      'private.test': () => [LOOPBACK],
    },
    ['good.test', 'other.test'],
  );
  t.match(await send(`https://good.test:${port}/`), { kind: 'delivered', status: 204 });
  t.match(await send(`https://other.test:${port}/`), { retryable: true, reason: /CERT|altnames/ });
  t.match(await send(`https://private.test:${port}/`), { retryable: false, status: null });
  location = `http://good.test:${plain.port}/`;
  t.match(await send(`https://good.test:${port}/`), { retryable: false, reason: /https to http/ });
  t.equal(plain.received.length, 0);
  location = `https://good.test:${port}/again`;
  t.match(await send(`http://good.test:${plain.port}/`), { kind: 'delivered' });
});

t.test('what a receiver does to an attempt is told, and ends in time', async (t) => {
  const receiver = await Receiver.start(t);
  const { send } = senderOf(t, { 'nowhere.test': () => [] }, ['127.0.0.1']);
  const cases: [string, Receiver['answering'], object][] = [
    ['taken', ok, { kind: 'delivered', status: 200 }],
    ['204', status(204), { kind: 'delivered', status: 204 }],
    ['gone', status(410), { retryable: false, status: 410 }],
    ['busy', status(503, { 'retry-after': '7' }), { retryable: true, retryAfterMs: 7_000 }],
    [
      'busy until',
      status(429, { 'retry-after': 'Thu, 01 Jan 1970 00:00:09 GMT' }),
      { retryable: true, retryAfterMs: 9_000 },
    ],
    ['hangs up', (response) => response.destroy(), { retryable: true, status: null }],
    ['no HTTP', (response) => response.socket?.end('nonsense\r\n\r\n'), { retryable: true }],
    ['redirects to GET', status(303, { location: '/' }), { retryable: false, status: 303 }],
    [
      'talks for ever',
      (response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write('x'.repeat(1_000)), 1);
        response.on('close', () => clearInterval(timer));
      },
      { kind: 'delivered', status: 200 },
    ],
  ];
  for (const [name, answering, expected] of cases) {
    receiver.answering = answering;
    t.match(await send(receiver.url()), expected, name);
  }
  receiver.answering = hang;
  const impatient = senderOf(t, {}, ['127.0.0.1'], TIMEOUT_MS);
  const late = { retryable: true, status: null, reason: `no answer within ${TIMEOUT_MS} ms` };
  t.match(await impatient.send(receiver.url()), late);
  t.match(await send('http://127.0.0.1:1/'), { retryable: true, status: null });
  t.match(await send('http://nowhere.test/'), { retryable: false });
});
