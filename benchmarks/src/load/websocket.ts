/**
 * The closed loop over one WebSocket to `/v1/stream`: so many requests in flight, the next as one is answered. Frames are
 * made and read by hand, as the HTTP of the other loops is: a library's cost would be taken for the server's.
 */
import { connect } from 'node:net';
import { type LoadResult, Recorder } from './recorder.ts';
import { type ClosedLoop, DEFAULT_DRAIN_MS, envelope, type LoadSpec } from './spec.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
const RESULT = '{"type":"result","id":';
const ERROR = '{"type":"error","id":';
const OK = { status: 200, code: '', retryAfterS: -1, bodyBytes: 0, close: false };
/** What a request that fails is counted as. */
const FAILED = { ...OK, status: 500, code: 'error' };

export function websocketLoop(spec: LoadSpec, mode: ClosedLoop): Promise<LoadResult> {
  const start = performance.now();
  const end = start + spec.warmupMs + spec.durationMs;
  const recorder = new Recorder(start, start + spec.warmupMs, end);
  // The path of an `:invoke`; its function is between the last slash and the verb.
  const name = /([^/]+):invoke$/.exec(spec.paths[0] ?? '')?.[1] ?? '';
  const tail = `,"function":"${name}",${envelope(spec.bodyBytes).toString().slice(1)}`;
  const since = new Map<number, number>();
  let last = 0;
  let received: Buffer = Buffer.alloc(0);
  let upgraded = false;
  let over = false;
  let out: Buffer[] = [];

  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: spec.port, noDelay: true });
    const finish = (): void => {
      if (over) return;
      over = true;
      clearTimeout(giveUp);
      const now = performance.now();
      for (const at of since.values()) recorder.unanswered(at, now);
      socket.destroy();
      resolve(recorder.result(since.size));
    };
    const giveUp = setTimeout(finish, end - start + (spec.drainMs ?? DEFAULT_DRAIN_MS));
    const begin = (now: number): void => {
      if (now >= end) {
        if (since.size === 0) finish();
        return;
      }
      const id = ++last;
      since.set(id, now);
      recorder.sent++;
      out.push(textFrame(`{"type":"invoke","id":${id}${tail}`));
    };
    const onText = (text: string): void => {
      const ok = text.startsWith(RESULT);
      if (!ok && !text.startsWith(ERROR)) return; // hello
      const id = Number.parseInt(text.slice(ok ? RESULT.length : ERROR.length), 10);
      const at = since.get(id);
      if (at === undefined) return;
      since.delete(id);
      const now = performance.now();
      recorder.answer(ok ? OK : FAILED, at, now);
      begin(now);
    };
    const write = (): void => {
      if (out.length > 0) socket.write(Buffer.concat(out));
      out = [];
    };
    socket.on('connect', () => {
      socket.write(
        `GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1:${spec.port}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n` +
          'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
    });
    socket.on('data', (data) => {
      received = received.length === 0 ? data : Buffer.concat([received, data]);
      if (!upgraded) {
        const at = received.indexOf(HEAD_END);
        if (at === -1) return;
        upgraded = true;
        received = received.subarray(at + HEAD_END.length);
        for (let i = 0; i < mode.connections; i++) begin(performance.now());
      }
      received = readFrames(received, onText);
      write();
    });
    const gone = (): void => {
      if (over) return;
      for (const _ of since) recorder.error('closed');
      since.clear();
      finish();
    };
    socket.on('close', gone);
    socket.on('error', gone);
  });
}

/** Masked, as a client's must be, with zeros. RFC 6455 5.2. */
function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? 6 : 8;
  const frame = Buffer.alloc(head + length);
  frame[0] = 0x81;
  if (length < 126) frame[1] = 0x80 | length;
  else {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(length, 2);
  }
  frame.write(text, head);
  return frame;
}

/** Hands over the text of each whole frame; what is left is the beginning of the next. */
function readFrames(bytes: Buffer, onText: (text: string) => void): Buffer {
  let at = 0;
  for (;;) {
    if (bytes.length < at + 2) break;
    const short = (bytes[at + 1] as number) & 0x7f;
    const head = short < 126 ? 2 : 4;
    if (bytes.length < at + head) break;
    const length = short < 126 ? short : bytes.readUInt16BE(at + 2);
    if (bytes.length < at + head + length) break;
    const isText = ((bytes[at] as number) & 0x0f) === 1;
    if (isText) onText(bytes.toString('utf8', at + head, at + head + length));
    at += head + length;
  }
  return bytes.subarray(at);
}
