/** Who may read the management port: beyond loopback whoever shows a credential with the scope `read`, where callers have any. */
import type { IncomingHttpHeaders } from 'node:http';
import { asksWhoCalls, type Config, isLoopback } from '../../config/config.ts';
import { type Caller, may } from '../../shared/caller.ts';
import type { ApiKeys } from './api-keys.ts';
import type { Tokens } from './tokens.ts';

const BEARER = /^bearer +(.+)$/i;

export function guardOf(config: Config, keys: ApiKeys, tokens: Tokens | null) {
  const callerOf = async (credential: string): Promise<Caller | undefined> => {
    const caller = keys.find(credential, Date.now());
    if (caller !== undefined || tokens === null) return caller;
    const verdict = await tokens.verify(credential);
    return verdict.kind === 'known' ? verdict.caller : undefined;
  };
  return async (headers: IncomingHttpHeaders): Promise<'yes' | 'unknown' | 'forbidden'> => {
    if (!asksWhoCalls(config) || isLoopback(config.managementHost)) return 'yes';
    const bearer = BEARER.exec(headers.authorization ?? '')?.[1];
    const given = bearer ?? headers['x-api-key'];
    const caller = typeof given === 'string' ? await callerOf(given) : undefined;
    if (caller === undefined) return 'unknown';
    return may(caller, ['read'], '') ? 'yes' : 'forbidden';
  };
}
