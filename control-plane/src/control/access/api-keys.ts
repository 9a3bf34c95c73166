/** The API keys that hold now, on the control thread: tells the scheduler of each change, and checks a key where that is not asked. */
import { type ApiKeyEntry, idOfApiKey, isApiKey } from '@simmer/protocol/api-keys';
import type { Caller } from '../../shared/caller.ts';
import type { ApiKeyRecord, ApiKeysMessage } from '../../shared/messages.ts';
import type { PepperedKey } from './api-key-files.ts';

/** So that the scheduler takes each message in within a millisecond or so. */
const KEYS_PER_MESSAGE = 500;

export class ApiKeys {
  private readonly send: (message: ApiKeysMessage) => void;
  private records = new Map<string, ApiKeyRecord>();

  constructor(send: (message: ApiKeysMessage) => void) {
    this.send = send;
  }

  /** These are all there are. */
  set(keys: readonly PepperedKey[]): void {
    const callers = new CallerParts();
    const records = new Map(
      keys.filter((key) => key.disabled !== true).map((key) => [key.id, recordOf(key, callers)]),
    );
    const remove = [...this.records.keys()].filter((id) => !records.has(id));
    const upsert = [...records.values()].filter((record) => {
      const before = this.records.get(record.id);
      return before === undefined || JSON.stringify(before) !== JSON.stringify(record);
    });
    this.records = records;
    if (remove.length > 0) this.send({ type: 'api-keys', upsert: [], remove });
    for (let from = 0; from < upsert.length; from += KEYS_PER_MESSAGE) {
      const some = upsert.slice(from, from + KEYS_PER_MESSAGE);
      this.send({ type: 'api-keys', upsert: some, remove: [] });
    }
  }

  /** Whose key it is; undefined where it does not hold. `now`: epoch milliseconds. */
  find(key: string, now: number): Caller | undefined {
    const record = this.records.get(idOfApiKey(key) ?? '');
    if (record === undefined || !isApiKey(record.pepper, record.hash, key)) return undefined;
    return record.expiresAt !== 0 && now >= record.expiresAt ? undefined : record.caller;
  }
}

/** The same lists of scopes and functions are one list: of many keys most have the same. */
class CallerParts {
  private readonly lists = new Map<string, readonly string[]>();

  of<T extends string>(list: readonly T[]): readonly T[] {
    const text = list.join('\n');
    const known = this.lists.get(text);
    if (known !== undefined) return known as readonly T[];
    this.lists.set(text, list);
    return list;
  }
}

function recordOf(entry: ApiKeyEntry & { pepper: string }, parts: CallerParts): ApiKeyRecord {
  const { id, pepper, hash, scopes, functions, expiresAt, rateLimit } = entry;
  return {
    ...{ id, pepper, hash },
    caller: { id: `key:${id}`, scopes: parts.of(scopes), functions: parts.of(functions) },
    expiresAt: expiresAt === undefined ? 0 : Date.parse(expiresAt),
    rateLimit: rateLimit ?? null,
  };
}
