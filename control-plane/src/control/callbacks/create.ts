/** Puts the callbacks' parts together: how they are set, where their key is from, who is told what became of one. */
import { type Config, version } from '../../config/config.ts';
import { CallbackTargets } from '../../shared/callback-targets.ts';
import { type FunctionCounters, HISTOGRAM } from '../../shared/counters.ts';
import type { ToScheduler } from '../../shared/messages.ts';
import { systemClock } from '../clock.ts';
import type { Log } from '../log.ts';
import { Callbacks, MAX_SENDING_TO_ORIGIN } from './callbacks.ts';
import { CallbackSender } from './sender.ts';
import { callbackKey, randomCallbackSecret } from './signing.ts';

export interface CallbackPorts {
  readonly config: Config;
  /** What the keys are derived from; absent: a random one, at the first use. */
  readonly secret: Uint8Array | undefined;
  readonly log: Log;
  readonly send: (message: ToScheduler) => void;
  /** The function's, whether it is there or not. */
  readonly countersOf: (functionKey: string) => FunctionCounters;
}

export interface CallbackParts {
  readonly callbacks: Callbacks;
  keyOf(functionKey: string): string;
}

export function createCallbacks(ports: CallbackPorts): CallbackParts {
  const { config, log, send, countersOf } = ports;
  let { secret } = ports;
  function master(): Uint8Array {
    if (secret === undefined) {
      secret = randomCallbackSecret();
      log.warn(
        'callbacks are signed with keys that end with this process: set callback-secret to keep them',
      );
    }
    return secret;
  }
  const targets = new CallbackTargets(config.callbackAllow);
  const callbacks = new Callbacks({
    ...{ targets, secret: master, version: version(), log, clock: systemClock },
    sender: new CallbackSender({
      ...{ targets, timeoutMs: config.callbackTimeoutMs, perOrigin: MAX_SENDING_TO_ORIGIN },
      now: systemClock.epoch,
    }),
    maxCount: config.callbacksMax,
    maxBytes: config.callbacksMaxBytes,
    maxAttempts: config.callbackAttempts,
    maxAgeMs: config.callbackMaxAgeMs,
    random: Math.random,
    onDelivered({ functionKey }, ms) {
      const counters = countersOf(functionKey);
      counters.count('delivered');
      counters.observe(HISTOGRAM.callback, ms);
    },
    onAttemptFailed: ({ functionKey }) => countersOf(functionKey).count('deliveriesFailed'),
    onDead(callback, attempts, reason) {
      countersOf(callback.functionKey).count('callbacksDead');
      send({ type: 'callback-dead', ...callback, attempts, reason });
    },
  });
  return { callbacks, keyOf: (functionKey) => callbackKey(master(), functionKey) };
}
