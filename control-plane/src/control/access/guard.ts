/** Who may read the management port: beyond loopback whoever shows a credential with the scope `read`, where callers have any. */
import type { IncomingHttpHeaders } from 'node:http';
import { asksWhoCalls, type Config, isLoopback } from '../../config/config.ts';
import { may } from '../../shared/caller.ts';
import type { ApiKeys } from './api-keys.ts';

const BEARER = /^bearer +(.+)$/i;

export function guardOf(config: Config, keys: ApiKeys) {
  return async (headers: IncomingHttpHeaders): Promise<'yes' | 'unknown' | 'forbidden'> => {
    if (!asksWhoCalls(config) || isLoopback(config.managementHost)) return 'yes';
    const bearer = BEARER.exec(headers.authorization ?? '')?.[1];
    const given = bearer ?? headers['x-api-key'];
    const caller = typeof given === 'string' ? keys.find(given, Date.now()) : undefined;
    if (caller === undefined) return 'unknown';
    return may(caller, ['read'], '') ? 'yes' : 'forbidden';
  };
}
