/** The bare relay's pod: frames in, handler, frames out; WebSocket options and corking as Simmer's runtime has them. */
import { connect } from 'node:net';
import { WebSocket } from 'ws';
import { type Handler, runHandler } from './target.ts';

const [handlerModule = '', address = ''] = process.argv.slice(2);
const { default: handler } = (await import(handlerModule)) as { default: Handler };
const { hostname, port } = new URL(address);
const socket = connect({ host: hostname, port: Number(port), noDelay: true });
const ws = new WebSocket(address, {
  perMessageDeflate: false,
  skipUTF8Validation: true,
  maxPayload: 64 * 1024 * 1024,
  // A zero mask costs nothing to apply, and masking guards proxies that this link never meets.
  generateMask: (mask) => mask.fill(0),
  createConnection: () => socket,
});
let corked = false;

async function run(frame: Buffer): Promise<void> {
  const text = await runHandler(handler, frame.subarray(4));
  const answer = Buffer.allocUnsafe(4 + Buffer.byteLength(text));
  answer.set(frame.subarray(0, 4));
  answer.write(text, 4);
  if (!corked) {
    corked = true;
    socket.cork();
    setImmediate(() => {
      corked = false;
      socket.uncork();
    });
  }
  ws.send(answer);
}

ws.on('message', run);
ws.on('close', () => process.exit(0));
process.stdin.resume().on('end', () => process.exit(0));
