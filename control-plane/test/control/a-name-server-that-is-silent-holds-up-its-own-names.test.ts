import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import {
  candidates,
  nameSettings,
  resolveName,
  SystemNames,
} from '../../src/control/callbacks/names.ts';
import { CallbackSender } from '../../src/control/callbacks/sender.ts';
import { CallbackTargets } from '../../src/shared/callback-targets.ts';
import { Receiver } from '../server/receiver.ts';

/** Far longer than an answer takes on a busy machine: who is silent is given up by hand. */
const PATIENCE_MS = 60_000;

const A = 1;
const NXDOMAIN = 3;
const SERVFAIL = 2;

/** What a name server does with a question: addresses, a failure, or nothing at all. */
type Zone = Readonly<Record<string, readonly string[] | 'silent' | 'broken'>>;

/** A name server of these names, on a socket of its own (RFC 1035 4). */
async function nameServer(t: Test, zone: Zone): Promise<{ resolver: Resolver; asked: string[] }> {
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (query, { port, address }) => {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at] as number; length > 0; length = query[at] as number) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const name = labels.join('.').toLowerCase();
    const question = query.subarray(12, at + 5);
    const type = query.readUInt16BE(at + 1);
    const entry = zone[name];
    if (type === A) asked.push(name);
    if (entry === 'silent') return;
    const addresses = Array.isArray(entry) && type === A ? entry : [];
    const code = entry === undefined ? NXDOMAIN : entry === 'broken' ? SERVFAIL : 0;
    const header = Buffer.alloc(12);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | code, 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(addresses.length, 6);
    const answers = addresses.map((text: string) =>
      Buffer.from([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 1, 0, 4, ...text.split('.').map(Number)]),
    );
    socket.send(Buffer.concat([header, question, ...answers]), port, address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  t.teardown(() => socket.close());
  const resolver = new Resolver({ timeout: PATIENCE_MS, tries: 1 });
  resolver.setServers([`127.0.0.1:${(socket.address() as AddressInfo).port}`]);
  return { resolver, asked };
}

t.test('names that are never answered hold up no other, however many they are', async (t) => {
  const silent = Array.from({ length: 100 }, (_, i) => `n${i}.silent.test`);
  const { resolver } = await nameServer(t, {
    ...Object.fromEntries(silent.map((name) => [name, 'silent' as const])),
    'quick.test': ['127.0.0.1'],
  });
  const receiver = await Receiver.start(t);
  const settings = nameSettings('', '');
  const sender = new CallbackSender({
    targets: new CallbackTargets(['127.0.0.1']),
    ...{ timeoutMs: PATIENCE_MS, perOrigin: 4, now: () => 0 },
    resolve: (name) => resolveName(name, settings, resolver),
  });
  t.teardown(() => sender.close());
  const send = (host: string) => {
    const url = new URL(`http://${host}:${receiver.port}/`);
    return sender.send({ url, headers: {}, body: Buffer.from('{}') });
  };
  let failed = 0;
  const waiting = silent.map(async (name) => {
    const outcome = await send(name);
    failed++;
    return outcome;
  });
  t.match(await send('quick.test'), { kind: 'delivered' });
  t.equal(failed, 0, 'while all of them waited');
  resolver.cancel();
  for (const outcome of await Promise.all(waiting)) {
    t.match(outcome, { retryable: true, status: null, reason: /n\d+\.silent\.test .* ECANCELLED/ });
  }
});

t.test('a name is looked for in hosts, then as resolv.conf says', async (t) => {
  const { resolver, asked } = await nameServer(t, {
    'receiver.shop.svc.cluster.local': ['10.0.0.7', '10.0.0.8'],
    'example.com': ['192.0.2.1'],
    'broken.test': 'broken',
  });
  const settings = nameSettings(
    '# the machine itself\n127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # and so on\n\n10.1.1.1 Alias.test\nnonsense x\n',
    'nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local. \noptions edns0 ndots:5\n',
  );
  const resolve = (name: string) => resolveName(name, settings, resolver);
  t.same(await resolve('localhost'), [
    { address: '127.0.0.1', family: 4 },
    { address: '::1', family: 6 },
  ]);
  t.same(await resolve('alias.TEST.'), [{ address: '10.1.1.1', family: 4 }]);
  t.same(asked, []);
  t.match(await resolve('receiver'), [{ address: '10.0.0.7', family: 4 }, { address: '10.0.0.8' }]);
  t.match(await resolve('receiver.shop'), [{ address: '10.0.0.7' }, {}]);
  asked.length = 0;
  t.match(await resolve('example.com'), [{ address: '192.0.2.1' }]);
  t.same(asked, [
    'example.com.shop.svc.cluster.local',
    'example.com.svc.cluster.local',
    'example.com',
  ]);
  asked.length = 0;
  t.match(await resolve('example.com.'), [{ address: '192.0.2.1' }]);
  t.same(asked, ['example.com']);
  await t.rejects(resolve('nobody.test'), /nobody\.test is not resolved: ENOTFOUND/);
  await t.rejects(resolve('broken.test'), /broken\.test is not resolved: ESERVFAIL/);
  t.same(candidates('a.b', nameSettings('', 'search x y\n')), ['a.b', 'a.b.x', 'a.b.y']);
  t.same(candidates('a', nameSettings('', 'domain x\n')), ['a.x', 'a']);
});

t.test("the system's own names are known", async (t) => {
  const names = new SystemNames(() => 0);
  // The second comes while the files are read for the first.
  for (const found of await Promise.all([1, 2].map(() => names.addressesOf('localhost')))) {
    t.ok(found.some(({ address }) => ['127.0.0.1', '::1'].includes(address)));
  }
});
