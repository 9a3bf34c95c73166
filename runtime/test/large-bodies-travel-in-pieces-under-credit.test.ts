import { createHash } from 'node:crypto';
import type { Frame } from '@simmer/protocol/frames';
import { INLINE_BODY_BYTES } from '@simmer/protocol/limits';
import t from 'tap';
import { type PodConnection, Stage } from './fake-control-plane.ts';

const sha = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Sends the rest of a body as the pod grants credit; returns what was granted beyond the first window. */
async function feed(
  link: PodConnection,
  stream: number,
  rest: Buffer,
  credit: number,
): Promise<number> {
  let at = 0;
  let room = credit;
  let granted = 0;
  while (at < rest.length) {
    if (room === 0) {
      const { bytes } = await link.expect('credit', (f) => f.stream === stream);
      room += bytes;
      granted += bytes;
      continue;
    }
    const size = Math.min(INLINE_BODY_BYTES, room, rest.length - at);
    const bytes = rest.subarray(at, at + size);
    at += size;
    room -= size;
    link.send({ kind: 'input', stream, bytes, end: at === rest.length });
  }
  return granted;
}

t.test('a request of the value form', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready('export default (input) => input.length;', {
    welcome: { windowBytes: 100_000 },
  });
  const body = Buffer.from(JSON.stringify({ input: 'x'.repeat(1_000_000) }));
  const first = body.subarray(0, INLINE_BODY_BYTES);
  const stream = link.invoke({ body: first, more: true });
  const granted = await feed(link, stream, body.subarray(first.length), 100_000 - first.length);
  t.ok(granted >= body.length - 100_000);
  t.equal(await link.output(stream), 1_000_000);
});

t.test('a raw request of a default handler', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    import { createHash } from 'node:crypto';
    export default (input) => createHash('sha256').update(input).digest('hex');`);
  const body = Buffer.alloc(300_000, 'abc');
  const first = body.subarray(0, INLINE_BODY_BYTES);
  const stream = link.request('POST', '/', first, [], { more: true });
  await feed(link, stream, body.subarray(first.length), 1_048_576 - first.length);
  t.equal(Buffer.from((await link.result(stream)).body ?? []).toString(), sha(body));
});

t.test('a fetch handler reads at its own pace, and credit follows it', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `import { createHash } from 'node:crypto';
    let release;
    const gate = new Promise((resolve) => { release = resolve; });
    export const fetch = async (request) => {
      if (request.url.endsWith('/release')) { release(); return new Response(null); }
      await gate;
      const hash = createHash('sha256');
      for await (const piece of request.body) hash.update(piece);
      return new Response(hash.digest('hex'));
    };`,
    { welcome: { windowBytes: 2 * INLINE_BODY_BYTES } },
  );
  const body = Buffer.alloc(10 * INLINE_BODY_BYTES, 'abcdefg');
  const first = body.subarray(0, INLINE_BODY_BYTES);
  const stream = link.request('POST', '/', first, [], { more: true });
  const second = body.subarray(INLINE_BODY_BYTES, 2 * INLINE_BODY_BYTES);
  link.send({ kind: 'input', stream, bytes: second, end: false });
  link.send({ kind: 'ping', nonce: 1 });
  await link.expect('pong');
  t.notOk(
    link.frames.some((f) => f.kind === 'credit'),
    'nothing is read, nothing is granted',
  );
  link.request('GET', '/release');
  await feed(link, stream, body.subarray(2 * INLINE_BODY_BYTES), 0);
  t.equal(Buffer.from((await link.result(stream)).body ?? []).toString(), sha(body));
});

t.test('a handler that ends without reading costs nothing more', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready("export const fetch = () => new Response('enough');");
  const stream = link.request('POST', '/', 'x', [], { more: true });
  t.match(await link.result(stream), { outcome: 'ok' });
  link.send({ kind: 'input', stream, bytes: Buffer.alloc(10), end: true });
  link.send({ kind: 'ping', nonce: 7 });
  t.match(await link.expect('pong'), { nonce: 7 }, 'what crossed the result is ignored');
});

t.test('more than was granted closes the connection', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `export const fetch = async (request) => {
      await request.body.getReader().read();
      await new Promise(() => {});
    };`,
    { welcome: { windowBytes: 1_000 } },
  );
  const stream = link.request('POST', '/', Buffer.alloc(600), [], { more: true });
  t.match(await link.expect('credit'), { stream, bytes: 600 });
  link.send({ kind: 'input', stream, bytes: Buffer.alloc(1_000), end: false });
  link.send({ kind: 'ping', nonce: 1 });
  await link.expect('pong');
  link.send({ kind: 'input', stream, bytes: Buffer.alloc(1), end: false });
  t.match(await link.closed, { code: 4422 });
});

/** Takes the pieces of a body, granting `credit` for each stream once its credit is used up. */
async function collect(
  link: PodConnection,
  streams: readonly number[],
  window: number,
): Promise<{ bodies: Map<number, Buffer[]>; order: number[] }> {
  const bodies = new Map(streams.map((s) => [s, [] as Buffer[]]));
  const open = new Set(streams);
  const left = new Map(streams.map((s) => [s, window]));
  const order: number[] = [];
  while (open.size > 0) {
    const { stream, bytes, end } = await link.expect('chunk', (f) => bodies.has(f.stream));
    bodies.get(stream)?.push(Buffer.from(bytes));
    order.push(stream);
    const room = (left.get(stream) as number) - bytes.length;
    if (room < 0) throw new Error(`stream ${stream} is ${-room} bytes over its credit`);
    left.set(stream, room);
    if (end) open.delete(stream);
    else if (room === 0) {
      link.send({ kind: 'credit', stream, bytes: window });
      left.set(stream, window);
    }
  }
  return { bodies, order };
}

t.test('results keep to their credit', async (t) => {
  const stage = await Stage.open(t);
  const window = 100_000;
  const { link } = await stage.ready("export default (input) => 'x'.repeat(input);", {
    welcome: { windowBytes: window },
  });
  const stream = link.call({ input: 1_000_000 });
  const { bodies } = await collect(link, [stream], window);
  const pieces = bodies.get(stream) ?? [];
  t.ok(pieces.every((p) => p.length <= INLINE_BODY_BYTES));
  t.equal(Buffer.concat(pieces).length, 1_000_002);
  t.match(await link.result(stream), { outcome: 'ok', body: null });
});

t.test('no credit, no bytes; a small call and a ping pass', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready("export default (input) => 'x'.repeat(input);", {
    welcome: { windowBytes: 70_000 },
  });
  const large = link.call({ input: 200_000 });
  let received = 0;
  while (received < 70_000) {
    received += (await link.expect('chunk', (f) => f.stream === large)).bytes.length;
  }
  t.equal(received, 70_000);
  t.equal(await link.output(link.call({ input: 3 })), 'xxx');
  link.send({ kind: 'ping', nonce: 5 });
  t.match(await link.expect('pong'), { nonce: 5 });
  t.notOk(
    link.frames.some((f) => f.kind === 'chunk'),
    'still none',
  );
  link.send({ kind: 'credit', stream: large, bytes: 1_000_000 });
  while (received < 200_002) received += (await link.expect('chunk')).bytes.length;
  t.match(await link.result(large), { outcome: 'ok', body: null });
});

t.test('several large results take turns', async (t) => {
  const stage = await Stage.open(t);
  const window = 64 * INLINE_BODY_BYTES;
  const { link } = await stage.ready(
    `let all, waiting = 0;
    const together = new Promise((resolve) => { all = resolve; });
    export default async (input) => {
      if (++waiting === 3) all();
      await together;
      return 'x'.repeat(input);
    };`,
    { welcome: { windowBytes: window } },
  );
  const streams = [1, 2, 3].map(() => link.call({ input: 32 * INLINE_BODY_BYTES - 2 }));
  const { order } = await collect(link, streams, window);
  t.equal(order.length, 96);
  const firstDone = order.findIndex(
    (_, i) => order.slice(0, i).filter((s) => s === order[i]).length === 31,
  );
  // Whoever began first is ahead by what the socket took before the others were there.
  for (const stream of streams) {
    const before = order.slice(0, firstDone).filter((s) => s === stream).length;
    t.ok(
      before >= 28,
      `stream ${stream} had ${before} of its 32 pieces when the first was through`,
    );
  }
});

t.test('a streamed Response: each piece as it comes, then the result', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    let next;
    const source = new ReadableStream({ start(c) { next = (text) => text ? c.enqueue(new TextEncoder().encode(text)) : c.close(); } });
    export const fetch = () => new Response(source, { headers: { 'content-type': 'text/event-stream' } });
    export default (input) => next(input);`);
  const stream = link.request('GET', '/');
  await link.expect('head');
  for (const text of ['one', 'two']) {
    await link.output(link.call({ input: text }));
    const chunk = await link.expect('chunk', (f) => f.stream === stream);
    t.equal(Buffer.from(chunk.bytes).toString(), text);
  }
  await link.output(link.call({}));
  const last = await link.expect('chunk', (f) => f.stream === stream);
  t.match({ end: last.end, length: last.bytes.length }, { end: true, length: 0 });
  t.match(await link.result(stream), { outcome: 'ok', body: null });
});

t.test('a streamed Response has no total limit, and waits for credit', async (t) => {
  const stage = await Stage.open(t);
  const window = 150_000;
  const { pod, link } = await stage.ready(
    `let pulled = 0;
    export const fetch = () => new Response(new ReadableStream({
      pull(c) { if (pulled++ < 40) c.enqueue(new Uint8Array(50_000).fill(pulled)); else c.close(); },
    }));
    export default () => pulled;`,
    { welcome: { windowBytes: window, maxResultBytes: 1_000 } },
  );
  const stream = link.request('GET', '/');
  let seen: Frame | undefined;
  for (let got = 0; got < window; ) {
    const chunk = await link.expect('chunk');
    got += chunk.bytes.length;
    seen = chunk;
  }
  t.ok(seen);
  const pulled = (await link.output(link.call({}))) as number;
  t.ok(pulled <= 6, `${pulled} pieces were pulled, of which 3 fit the window`);
  link.send({ kind: 'credit', stream, bytes: 10_000_000 });
  while (!(await link.expect('chunk')).end);
  t.match(await link.result(stream), { outcome: 'ok' });
  t.equal(pod.stderr, '');
});
