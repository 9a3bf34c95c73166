/**
 * (b) The bare relay: HTTP in on uWebSockets.js, one binary frame `[id: u32][body]` on a pod's WebSocket, the same back,
 * the answer out; no features. Frames and answers are collected and written corked, once an event-loop turn:
 * corking one socket while another is corked makes uWebSockets.js fall back to a system call per write.
 */

import { App, type HttpResponse, us_socket_local_port, type WebSocket } from 'uWebSockets.js';
import { fileURLToPath } from 'node:url';
import { announce, start } from '../child.ts';

interface Pod {
  readonly ws: WebSocket<unknown>;
  readonly out: Buffer[];
  inFlight: number;
}

const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
const [handlerModule = '', podCount = '1'] = process.argv.slice(2);
const pods: Pod[] = [];
// Slots rather than a map: an id is reused once its answer has come, even where its client has left.
const waiting: { res: HttpResponse; gone: boolean; pod: Pod }[] = [];
const freeIds: number[] = [];
const answers: [id: number, body: Buffer][] = [];
let scheduled = false;

function schedule(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(flush);
}

function flush(): void {
  scheduled = false;
  for (const pod of pods) {
    if (pod.out.length === 0) continue;
    pod.ws.cork(() => {
      for (const frame of pod.out) pod.ws.send(frame, true);
    });
    pod.out.length = 0;
  }
  for (const [id, body] of answers) {
    const { res, gone, pod } = waiting[id] as { res: HttpResponse; gone: boolean; pod: Pod };
    pod.inFlight--;
    freeIds.push(id);
    if (gone) continue;
    res.cork(() => res.writeHeader('content-type', 'application/json').end(body));
  }
  answers.length = 0;
}

function forward(res: HttpResponse, first: ArrayBuffer, rest: Buffer | undefined): number {
  let pod = pods[0] as Pod;
  for (const other of pods) if (other.inFlight < pod.inFlight) pod = other;
  const id = freeIds.pop() ?? waiting.length;
  waiting[id] = { res, gone: false, pod };
  const before = rest?.length ?? 0;
  const frame = Buffer.allocUnsafe(4 + before + first.byteLength);
  frame.writeUInt32LE(id, 0);
  if (rest !== undefined) frame.set(rest, 4);
  frame.set(new Uint8Array(first), 4 + before);
  pod.inFlight++;
  pod.out.push(frame);
  schedule();
  return id;
}

const app = App()
  .post('/*', (res) => {
    let id = -1;
    const pieces: Buffer[] = [];
    res.onAborted(() => {
      if (id !== -1) (waiting[id] as { gone: boolean }).gone = true;
    });
    res.onData((chunk, last) => {
      if (last) id = forward(res, chunk, pieces.length > 0 ? Buffer.concat(pieces) : undefined);
      else pieces.push(Buffer.from(new Uint8Array(chunk))); // copied: the chunk dies with this call
    });
  })
  .ws('/pod', {
    maxPayloadLength: MAX_MESSAGE_BYTES,
    maxBackpressure: MAX_MESSAGE_BYTES,
    open: (ws) => {
      if (pods.push({ ws, out: [], inFlight: 0 }) === Number(podCount)) announce({ port });
    },
    message: (_ws, message) => {
      const frame = Buffer.from(new Uint8Array(message)); // copied, as above
      answers.push([frame.readUInt32LE(0), frame.subarray(4)]);
      schedule();
    },
  });
let port = 0;
app.listen('127.0.0.1', 0, (socket) => {
  port = us_socket_local_port(socket as Exclude<typeof socket, false>);
});
const podEntry = fileURLToPath(new URL('./relay-pod.js', import.meta.url));
for (let i = 0; i < Number(podCount); i++) {
  await start(process.execPath, [podEntry, handlerModule, `ws://127.0.0.1:${port}/pod`]);
}
