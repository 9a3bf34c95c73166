/** Simmer as an operator runs it: callers show one of ten thousand API keys, and that key and the function have rate limits. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ApiKeyFile,
  addApiKey,
  newApiKeyFile,
  textOfApiKeyFile,
} from '@simmer/protocol/api-keys';
import { echoFunction, invokePath, startServer } from './simmer.ts';
import type { Running } from './target.ts';

export const KEYS = 10_000;
/** Never met: what is measured is to look, not to refuse. */
const rateLimit = { requestsPerSecond: 1_000_000, burst: 1_000_000 };

export async function startKeyed(): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-bench-keys-'));
  const path = join(folder, 'api-keys.json');
  const { file, key } = manyKeys();
  writeFileSync(path, textOfApiKeyFile(file));
  const { name, handler, spec } = echoFunction(1);
  const server = await startServer([{ name, handler, spec: { ...spec, rateLimit } }], {
    flags: ['--api-keys', path],
  });
  return {
    name: 'simmer',
    port: server.port,
    path: invokePath(name),
    headers: { authorization: `Bearer ${key}` },
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

/** `key` is the one in the middle. Checked once, as a whole: to add each would check all before it. */
function manyKeys(): { file: ApiKeyFile; key: string } {
  const empty = newApiKeyFile();
  const added = Array.from({ length: KEYS }, () =>
    addApiKey(empty, { scopes: ['invoke'], functions: ['default/*'], rateLimit }),
  );
  const { pepper } = empty;
  const file = { pepper, keys: added.map(({ entry }) => entry) };
  return { file, key: (added[KEYS / 2] as (typeof added)[0]).key };
}
