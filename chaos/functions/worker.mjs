/** Does what its input says, and notes it in the ledger. */
import { setTimeout as delay } from 'node:timers/promises';
import { begin } from './ledger.mjs';

/** How often one that runs says so: what overlaps another by more is seen. */
const STILL_MS = 10;

export default async (input, ctx) => {
  const entry = begin(ctx, input.op);
  const { do: kind, ms, deaf, untilAttempt, ballast } = input.work;
  try {
    if (kind === 'spin') spin(ms, entry);
    if (kind === 'sleep') await sleep(ms, deaf ? undefined : ctx.signal, entry);
    if (kind === 'bad') throw ctx.badInput('as asked');
    if (ctx.attempt <= untilAttempt) {
      if (kind === 'throw') throw new Error('as asked');
      if (kind === 'exit') {
        entry.end('exited');
        process.exit(3);
      }
    }
  } catch (error) {
    entry.end(error.name === 'AbortError' ? 'aborted' : 'threw');
    throw error;
  }
  const output = {
    op: input.op,
    attempt: ctx.attempt,
    pid: process.pid,
    ballast: 'x'.repeat(ballast),
  };
  entry.end('ok');
  return output;
};

function spin(ms, entry) {
  const until = performance.now() + ms;
  for (let said = 0; performance.now() < until; ) {
    if (performance.now() < said) continue;
    entry.still();
    said = performance.now() + STILL_MS;
  }
}

async function sleep(ms, signal, entry) {
  const still = setInterval(entry.still, STILL_MS);
  try {
    await delay(ms, undefined, { signal });
  } finally {
    clearInterval(still);
  }
}
