import { createHash } from 'node:crypto';
import { decodeEach, encode } from '@simmer/protocol/codec';
import { CLOSE, type Frame } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '@simmer/protocol/limits';
import type { FunctionSource } from '@simmer/protocol/registry';
import t from 'tap';
import { WebSocket } from 'ws';
import { Plane, RuntimePod } from './plane.ts';
import { PodPeer } from './pod-peer.ts';
import { eventually, request, Simmer } from './simmer.ts';

function sourceOf(code: string, entry = 'handler.js'): FunctionSource {
  const bytes = Buffer.from(code);
  return { entry, bytes, digest: createHash('sha256').update(bytes).digest('hex') };
}

/** More than one piece. */
const LONG = `export default (input) => ({ got: input, pid: process.pid });\n//${'x'.repeat(200_000)}`;

t.test('a pod without a handler becomes the function', async (t) => {
  const plane = await Plane.start(t);
  plane.define('fn', { concurrency: 7 }, sourceOf(LONG));
  const pod = plane.expect('fn');
  plane.identify(pod);
  const process = RuntimePod.start(t, plane.podAddress, pod, {}, null);
  await plane.serving('fn');
  const answer = await request(plane.port, '/v1/functions/fn:invoke', { body: '{"input":3}' });
  t.same(answer.json.output, { got: 3, pid: process.child.pid });
});

const MIB = 1_048_576;

t.test('large code waits for who reads it, and nobody else waits for that', async (t) => {
  const plane = await Plane.start(t);
  const large = sourceOf(`//${'x'.repeat(32 * MIB)}`);
  plane.define('large', {}, large);
  plane.define('fn', {}, sourceOf(LONG));
  const [slow, quick] = [plane.expect('large'), plane.expect('fn')];
  for (const pod of [slow, quick]) plane.identify(pod);

  const ws = new WebSocket(plane.podAddress, SUBPROTOCOL);
  t.teardown(() => ws.terminate());
  const frames: Frame[] = [];
  ws.on('message', (data: Buffer) => {
    decodeEach(data, (frame) => frame !== undefined && frames.push(frame) > 0);
  });
  await new Promise((resolve) => ws.once('open', resolve));
  ws.pause();
  ws.send(
    encode({
      ...{ kind: 'hello', version: PROTOCOL_VERSION, credential: slow.credential, uid: slow.uid },
      ...{ proof: '', bootId: 'slow', runtime: 'peer', runtimeVersion: '1', capacity: 1 },
      inFlight: 0,
    }),
  );
  const [pod] = plane.core.functions.get('default/large')?.pods ?? [];
  await eventually('its hello is taken', () => pod?.link !== null);
  RuntimePod.start(t, plane.podAddress, quick, {}, null);
  await plane.serving('fn');
  const answer = await request(plane.port, '/v1/functions/fn:invoke', { body: '{"input":3}' });
  t.equal(answer.status, 200);
  const link = pod?.link as unknown as { readonly ws: { getBufferedAmount(): number } };
  t.ok(link.ws.getBufferedAmount() < MIB, 'what is not read is not copied');

  ws.resume();
  const last = await eventually('the last piece', () =>
    frames.find((f) => f.kind === 'code' && f.end),
  );
  const pieces = frames.filter((f) => f.kind === 'code');
  t.equal(last, pieces.at(-1));
  const bytes = Buffer.concat(pieces.map((f) => f.bytes));
  t.equal(createHash('sha256').update(bytes).digest('hex'), large.digest);
});

t.test('it is told again only by who does not know that it has it', async (t) => {
  const plane = await Plane.start(t);
  const source = sourceOf('export default () => 1;');
  plane.define('fn', {}, source);
  const pod = plane.expect('fn');
  plane.identify(pod);
  const digest = `sha256:${source.digest}`;
  const kinds = (peer: PodPeer) => peer.received.map((f) => f.kind);

  const first = await PodPeer.open(plane.podPort);
  t.teardown(() => first.close());
  first.hello({ credential: pod.credential, uid: pod.uid });
  await eventually('the code', () => kinds(first).includes('code'));
  t.same(kinds(first), ['welcome', 'specialize', 'code']);
  const [welcome, specialize] = first.received;
  t.match(specialize, {
    ...{ function: 'default/fn', entry: 'handler.js', digest, env: [], secrets: [] },
    limits: [['capacity', '1']],
  });
  const session = welcome?.kind === 'welcome' ? welcome.session : '';
  t.equal(specialize?.kind === 'specialize' && specialize.session, session);
  first.send({ kind: 'ready', digest });
  await plane.serving('fn');

  const second = await PodPeer.open(plane.podPort);
  t.teardown(() => second.close());
  second.hello({ credential: session, uid: pod.uid });
  second.send({ kind: 'ready', digest });
  await eventually('it took the place', () => first.closeCode === CLOSE.replaced.code);
  await plane.serving('fn');
  t.notOk(kinds(second).includes('specialize'));
});

t.test('ready with other code than its own ends it', async (t) => {
  const plane = await Plane.start(t);
  plane.define('fn', {}, sourceOf('export default () => 1;'));
  const pod = plane.expect('fn');
  plane.identify(pod);
  const peer = await PodPeer.open(plane.podPort);
  peer.hello({ credential: pod.credential, uid: pod.uid });
  await eventually('a welcome', () => peer.received.length > 0);
  peer.send({ kind: 'ready', digest: '' });
  t.equal(await peer.untilClosed(), CLOSE.violation.code);
  t.match(plane.postedOf('pod-lost'), [{ podId: pod.podId }]);
});

t.test('code that does not load is reported', async (t) => {
  const plane = await Plane.start(t);
  plane.define('fn', {}, sourceOf('export default ('));
  const pod = plane.expect('fn');
  plane.identify(pod);
  RuntimePod.start(t, plane.podAddress, pod, {}, null);
  await eventually('it failed', () => plane.postedOf('pod-failed').length > 0);
  t.match(plane.postedOf('pod-failed'), [{ code: 'handler_not_loaded', message: /SyntaxError/ }]);
});

t.test('the process backend sends what the manifest holds, and replaces it', async (t) => {
  const code = (answer: string) =>
    `export default () => ['${answer}', import.meta.url, process.env.GREETING];`;
  const setup = (answer: string) => ({
    name: 'inline',
    spec: {
      source: { inline: code(answer) },
      minReplicas: 1,
      env: [{ name: 'GREETING', value: 'hello' }],
    },
  });
  const simmer = await Simmer.start(t, [setup('first')]);
  t.match((await simmer.invoke('inline')).json.output, ['first', /\/inline\.mjs$/, 'hello']);
  simmer.define(setup('second'));
  await eventually('the new code', async () => {
    const { status, json } = await simmer.invoke('inline');
    t.equal(status, 200);
    return json.output[0] === 'second';
  });
  t.equal(simmer.stderr, '');
});
