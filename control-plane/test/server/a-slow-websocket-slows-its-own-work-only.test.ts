import {
  CLIENT_MSGPACK,
  type ClientMessage,
  type ServerMessage,
} from '@simmer/protocol/client-messages';
import { decodeMsgpack, encodeMsgpack } from '@simmer/protocol/client-msgpack';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { eventually, Simmer } from './simmer.ts';
import { StreamPeer } from './stream-peer.ts';

const MIB = 1_048_576;

/** Streams as many MiB as are asked for, and notes each; a value is as many MiB of text. */
const MAKER = `
import { appendFileSync } from 'node:fs';
export const fetch = async (request) => {
  const query = new URL(request.url).searchParams;
  const [total, notes] = [Number(query.get('mib')), query.get('notes')];
  let made = 0;
  return new Response(new ReadableStream({
    pull(controller) {
      if (made === total * 16) return controller.close();
      if (made++ % 16 === 0) appendFileSync(notes, 'x\\n');
      controller.enqueue(new Uint8Array(65_536));
    },
  }, { highWaterMark: 0 }));
};
export default async ({ mib }) => 'x'.repeat(mib * 1_048_576);
`;

/** A client whose socket can be left unread. */
class SlowPeer {
  readonly ws: WebSocket;
  readonly messages: ServerMessage[] = [];
  bytes = 0;
  closed = false;

  private constructor(port: number) {
    this.ws = new WebSocket(`ws://127.0.0.1:${port}/v1/stream`, CLIENT_MSGPACK);
    this.ws.on('message', (data: Buffer) => {
      const message = decodeMsgpack(data) as ServerMessage;
      if (message.type === 'data') this.bytes += message.bytes.length;
      else if (message.type === 'response') this.bytes += message.body?.length ?? 0;
      // What they bring is counted, not kept.
      this.messages.push(
        message.type === 'data' ? { ...message, bytes: new Uint8Array(0) } : message,
      );
    });
    this.ws.on('close', () => {
      this.closed = true;
    });
    this.ws.on('error', () => {});
  }

  static async open(t: Pick<Test, 'teardown'>, port: number): Promise<SlowPeer> {
    const peer = new SlowPeer(port);
    t.teardown(() => peer.ws.terminate());
    await eventually('it is greeted', () => peer.messages.length > 0);
    return peer;
  }

  send(message: ClientMessage): void {
    this.ws.send(encodeMsgpack(message));
  }

  count(type: ServerMessage['type']): number {
    return this.messages.filter((message) => message.type === type).length;
  }
}

/** Waits until a number stays as it is for a while. */
async function settled(what: string, look: () => number | Promise<number>): Promise<number> {
  let last = -1;
  let same = 0;
  await eventually(what, async () => {
    const now = await look();
    same = now === last ? same + 1 : 0;
    last = now;
    return same >= 15;
  });
  return last;
}

t.test('slow readers', async (t) => {
  const queue = { maxLength: 1_000 };
  const simmer = await Simmer.start(t, [
    {
      name: 'maker',
      code: MAKER,
      spec: {
        concurrency: 10,
        minReplicas: 1,
        maxReplicas: 1,
        maxResultBytes: 2 ** 30,
        timeoutMs: 120_000,
        queue,
      },
    },
    { name: 'fn', spec: { concurrency: 10, minReplicas: 1 } },
  ]);
  const neighbour = await StreamPeer.open(t, simmer.port);
  let asked = 0;
  const neighbourIsServed = async (): Promise<void> => {
    neighbour.send({ type: 'invoke', id: ++asked, function: 'fn', input: '{"echo":1}' });
    t.equal((await neighbour.output(asked)).echo, 1);
  };

  await t.test('an answer without credit is made no further than its window', async (t) => {
    const peer = await SlowPeer.open(t, simmer.port);
    const notes = simmer.gate();
    const path = `/?mib=8&notes=${encodeURIComponent(notes)}`;
    peer.send({ type: 'request', id: 1, function: 'maker', method: 'GET', path });
    await eventually('it comes', () => peer.bytes > 0);
    await settled('no more comes', () => peer.bytes);
    t.equal(peer.bytes, 262_144);
    t.ok(simmer.runs(notes).length <= 2, 'and little more is made');
    // Its own other requests go on.
    peer.send({ type: 'invoke', id: 2, function: 'fn', input: '{}' });
    await eventually('another is answered', () => peer.count('result') === 1);
    peer.send({ type: 'credit', id: 1, bytes: 8 * MIB });
    await eventually('the rest comes', () => peer.bytes === 8 * MIB);
  });

  await t.test('a socket that is not read stops the handler, not the server', async (t) => {
    const peer = await SlowPeer.open(t, simmer.port);
    const notes = simmer.gate();
    const path = `/?mib=64&notes=${encodeURIComponent(notes)}`;
    const before = simmer.residentBytes();
    peer.send({ type: 'request', id: 1, function: 'maker', method: 'GET', path });
    peer.send({ type: 'credit', id: 1, bytes: 256 * MIB });
    await eventually('it begins', () => peer.bytes > 0);
    peer.ws.pause();
    const made = await settled('the handler makes no more', () => simmer.runs(notes).length);
    // What the kernel holds for a socket on this machine, and our windows.
    t.ok(made < 32, `${made} of 64 MiB made`);
    t.ok(simmer.residentBytes() - before < 48 * MIB);
    await neighbourIsServed();
    peer.ws.resume();
    await eventually('all of it comes', () => peer.bytes === 64 * MIB);
  });

  await t.test('whole results that are not read are held up to a bound', async (t) => {
    const peer = await SlowPeer.open(t, simmer.port);
    peer.ws.pause();
    const CALLS = 80;
    for (let id = 1; id <= CALLS; id++) {
      peer.send({ type: 'invoke', id, function: 'maker', input: '{"mib":1}' });
      peer.send({ type: 'credit', id, bytes: MIB });
    }
    await settled('all have run', async () =>
      simmer.metric('simmer_invocations_total', { function: 'default/maker' }),
    );
    await simmer.quiet('default/maker');
    await neighbourIsServed();
    const held = await simmer.metric('simmer_stream_held_bytes');
    t.ok(held > 8 * MIB && held <= 16 * MIB, `${Math.round(held / MIB)} of 80 MiB are held`);
    peer.ws.resume();
    await eventually('each is answered', () => {
      const ends = peer.messages.filter(
        (m) => m.type === 'error' || ((m.type === 'data' || m.type === 'result') && !m.more),
      );
      return ends.length === CALLS;
    });
    const refused = peer.messages.filter((m) => m.type === 'error');
    for (const error of refused) {
      t.match(JSON.parse(Buffer.from(error.problem).toString()), {
        code: 'stream_limit',
        status: 429,
      });
    }
    t.ok(refused.length > 0 && refused.length < CALLS - 10, `${refused.length} refused`);
    await eventually('nothing is held any more', async () => {
      return (await simmer.metric('simmer_stream_held_bytes')) === 0;
    });
  });

  await t.test('one that only asks and never reads is cut', async (t) => {
    const peer = await SlowPeer.open(t, simmer.port);
    const others = await simmer.metric('simmer_stream_sockets');
    peer.ws.pause();
    const name = 'n'.repeat(4_000);
    let sent = 0;
    await eventually('it is cut', async () => {
      for (let i = 0; i < 1_000; i++) {
        peer.send({ type: 'invoke', id: ++sent, function: name });
      }
      await eventually('it is read', () => peer.ws.bufferedAmount < MIB || peer.ws.readyState > 1);
      if (simmer.child.exitCode !== null) throw new Error(simmer.stderr);
      return (await simmer.metric('simmer_stream_sockets')) === others - 1;
    });
    await neighbourIsServed();
  });
});
