/** Entry of the generator's own process: runs one load at a time as its parent asks, and ends with its parent. */
import { closedLoop } from './closed.ts';
import { openLoop } from './open.ts';
import type { LoadResult } from './recorder.ts';
import { type LoadSpec, MAX_LOAD_MS } from './spec.ts';
import { websocketLoop } from './websocket.ts';

export function runLoad(spec: LoadSpec): Promise<LoadResult> {
  if (spec.warmupMs + spec.durationMs > MAX_LOAD_MS) throw new RangeError('load too long');
  const { mode } = spec;
  if (mode.loop === 'open') return openLoop(spec, mode);
  return mode.websocket === true ? websocketLoop(spec, mode) : closedLoop(spec, mode);
}

if (process.send !== undefined) {
  const send = process.send.bind(process);
  process.on('message', (spec: LoadSpec) => {
    // With --expose-gc: garbage of one round is not collected at the expense of the next one's target.
    globalThis.gc?.();
    runLoad(spec).then(
      (result) => send({ result }),
      (error: Error) => send({ error: error.message }),
    );
  });
  process.on('disconnect', () => process.exit(0));
}
