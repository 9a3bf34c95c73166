/** Streams as many bytes as its request says, in pieces, each as its reader takes it; all bytes are the last of its op. */
import { begin } from './ledger.mjs';

const PIECE = 32_768;

export const fetch = async (request, ctx) => {
  const { op, work } = await request.json();
  const entry = begin(ctx, op);
  const piece = new Uint8Array(PIECE).fill(op.charCodeAt(op.length - 1));
  let left = work.ballast;
  const body = new ReadableStream({
    async pull(controller) {
      entry.still();
      // A turn between pieces: others run meanwhile.
      await new Promise(setImmediate);
      controller.enqueue(piece.slice(0, Math.min(PIECE, left)));
      left -= PIECE;
      if (left > 0) return;
      entry.end('ok');
      controller.close();
    },
    cancel() {
      entry.end('aborted');
    },
  });
  return new Response(body, { headers: { 'x-op': op, 'x-attempt': String(ctx.attempt) } });
};
