/**
 * Entry of a process: any number of pods, each a connection of its own that speaks the pod protocol, echo for a handler.
 * `node pods.js <pod port>`, and on standard input one JSON line of {podId, credential}[]; prints a line once all are ready.
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { decodeEach, encode } from '@simmer/protocol/codec';
import type { Frame } from '@simmer/protocol/frames';
import { PROTOCOL_VERSION, SUBPROTOCOL } from '@simmer/protocol/limits';
import { WebSocket } from 'ws';
import { announce } from '../child.ts';
import type { FakePod } from './assembly.ts';

/** Dialled at once: within any listen backlog. */
const DIAL_AT_ONCE = 64;

const port = Number(process.argv[2]);

function dial(pod: FakePod): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, SUBPROTOCOL, {
      perMessageDeflate: false,
      generateMask: (mask) => mask.fill(0),
      createConnection: () => socket,
    });
    let corked = false;
    const send = (frame: Frame) => {
      if (!corked) {
        corked = true;
        socket.cork();
        setImmediate(() => {
          corked = false;
          socket.uncork();
        });
      }
      ws.send(encode(frame));
    };
    ws.on('open', () => {
      send({
        kind: 'hello',
        version: PROTOCOL_VERSION,
        credential: pod.credential,
        uid: pod.podId,
        proof: '',
        bootId: `boot-${pod.podId}`,
        runtime: 'bench',
        runtimeVersion: '1',
        capacity: 100,
        inFlight: 0,
      });
    });
    const take = (frame: Frame | undefined): boolean => {
      if (frame?.kind === 'welcome') {
        send({ kind: 'ready', digest: '' });
        resolve();
      } else if (frame?.kind === 'ping') send({ kind: 'pong', nonce: frame.nonce });
      else if (frame?.kind === 'invoke') {
        const { input } = JSON.parse(Buffer.from(frame.body).toString()) as { input: unknown };
        const body = Buffer.from(JSON.stringify(input));
        const { stream } = frame;
        send({ kind: 'result', stream, outcome: 'ok', code: '', message: '', body });
      }
      return true;
    };
    ws.on('message', (data: Buffer) => decodeEach(data, take));
    ws.on('error', reject);
    ws.on('close', (code, reason) => reject(new Error(`closed: ${code} ${reason}`)));
  });
}

const lines = createInterface({ input: process.stdin });
lines.once('line', async (line) => {
  const pods = JSON.parse(line) as FakePod[];
  for (let i = 0; i < pods.length; i += DIAL_AT_ONCE) {
    await Promise.all(pods.slice(i, i + DIAL_AT_ONCE).map(dial));
  }
  announce({ ready: pods.length });
});
lines.once('close', () => process.exit(0));
