/**
 * fails: fails in every way that docs/errors.md names for a handler, to see what a caller gets.
 *
 *   curl localhost:8080/v1/functions/fails:invoke -d '{"input": {"mode": "throw"}}'
 *
 *   mode             what the handler does                          what the caller gets
 *   ok               returns                                        200
 *   throw            throws                                         500 function_error
 *   reject           rejects later                                  500 function_error
 *   throw-text       throws something that is no Error              500 function_error
 *   bad-input        throws ctx.badInput(...)                       400 bad_input
 *   exit             calls process.exit                             500 function_exited
 *   uncaught         throws outside its promise, in a timer         500 function_exited
 *   unhandled        leaves a rejected promise behind               500 function_exited
 *   unserializable   returns a cycle                                500 result_not_serializable
 *   bigint           returns a BigInt                               500 result_not_serializable
 *   too-large        returns more than maxResultBytes               500 result_too_large
 *   hang             never returns, but lets go when it is told     504 timeout
 *   deaf             never returns and ignores its signal           504 timeout; its pod is killed
 *   block            keeps the processor busy without end           504 timeout; its pod is killed
 *   flood            prints a hundred thousand lines, then returns  200; what is over the limit is dropped
 */
import { once } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';

const FLOOD_LINES = 100_000;
const forever = new Promise(() => {});

const MODES = {
  ok: () => 'nothing failed',
  throw: () => {
    throw new TypeError('thrown on purpose');
  },
  reject: async () => {
    await nextTurn();
    throw new Error('rejected on purpose');
  },
  'throw-text': () => {
    // biome-ignore lint/style/useThrowOnlyError: what the mode is there to show
    throw 'a string, not an Error';
  },
  'bad-input': (ctx) => {
    throw ctx.badInput('this input is refused on purpose');
  },
  exit: () => process.exit(3),
  uncaught: () => {
    setImmediate(() => {
      throw new Error('thrown outside the promise on purpose');
    });
    return forever;
  },
  unhandled: () => {
    Promise.reject(new Error('left unhandled on purpose'));
    return forever;
  },
  unserializable: () => {
    const cycle = {};
    cycle.self = cycle;
    return cycle;
  },
  bigint: () => 1n,
  'too-large': () => 'x'.repeat(1_000_000),
  hang: async (ctx) => {
    if (!ctx.signal.aborted) await once(ctx.signal, 'abort');
    throw ctx.signal.reason;
  },
  deaf: () => forever,
  block: () => {
    for (;;);
  },
  flood: () => {
    for (let i = 0; i < FLOOD_LINES; i++) console.log(`line ${i} of a flood`);
    return 'printed';
  },
};

export default async (input, ctx) => {
  const mode = input?.mode ?? 'ok';
  if (!Object.hasOwn(MODES, mode)) {
    throw ctx.badInput(`"mode" must be one of ${Object.keys(MODES).join(', ')}`);
  }
  return MODES[mode](ctx);
};
