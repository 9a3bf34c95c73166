/**
 * The clients' API keys, in a Secret of the control plane's namespace: as in a file, only their hashes. Where there is none the
 * leader makes it, with one key that may do all; that key's text goes into another Secret, for the operator to read and delete.
 *
 *     Secret NAME:              api-keys.json (and whatever else ends in .json, .yaml or .yml)
 *     Secret NAME-first-key:    key
 *
 * Invariants:
 *  1. A Secret that is there is never changed: the keys are the operator's.
 *  2. The text is stored before the hash: a start that dies between the two leaves a key that the next one takes, not one that
 *     nobody knows.
 */
import {
  type ApiKeyFile,
  addApiKey,
  fileWithApiKey,
  newApiKeyFile,
  textOfApiKeyFile,
} from '@simmer/protocol/api-keys';
import { SCOPES } from '@simmer/protocol/operations';
import { type Api, isReason, type KubeObject, SECRETS } from '../api/api.ts';

const FILE = 'api-keys.json';
const KEY = 'key';
const FIRST_KEY_SUFFIX = '-first-key';
const KEY_FILE = /\.(json|ya?ml)$/;
/** Two leaders at once: one of them writes, the other reads that. */
const MAX_TRIES = 5;

export interface StoredFile {
  readonly name: string;
  readonly text: string;
}

/** What stands in it, and its version; undefined where there is none. */
export async function readApiKeys(
  api: Api,
  namespace: string,
  name: string,
): Promise<{ readonly version: string; readonly files: readonly StoredFile[] } | undefined> {
  const secret = await api.find(SECRETS, namespace, name);
  if (secret === undefined) return undefined;
  const data = (secret['data'] ?? {}) as Record<string, string>;
  const files = Object.keys(data)
    .filter((key) => KEY_FILE.test(key))
    .sort()
    .map((key) => ({ name: key, text: textIn(secret, key) }));
  return { version: `${secret.metadata.uid}:${secret.metadata.resourceVersion}`, files };
}

/** Makes it where there is none; whether it did. @param now epoch milliseconds */
export async function ensureApiKeys(
  api: Api,
  namespace: string,
  name: string,
  now: number,
): Promise<boolean> {
  const firstName = `${name}${FIRST_KEY_SUFFIX}`;
  for (let tries = 1; ; tries++) {
    if ((await api.find(SECRETS, namespace, name)) !== undefined) return false; // 1
    try {
      const first = await api.find(SECRETS, namespace, firstName);
      const wanted = {
        scopes: SCOPES,
        description: 'made at the first start',
        createdAt: new Date(now).toISOString(),
      };
      let file: ApiKeyFile;
      if (first === undefined) {
        const added = addApiKey(newApiKeyFile(), wanted);
        file = added.file;
        await api.create(SECRETS, namespace, secretOf(firstName, KEY, added.key)); // 2
      } else {
        file = fileWithApiKey(newApiKeyFile(), textIn(first, KEY), wanted);
      }
      await api.create(SECRETS, namespace, secretOf(name, FILE, textOfApiKeyFile(file)));
      return true;
    } catch (error) {
      if (!isReason(error, 'AlreadyExists') || tries === MAX_TRIES) throw error;
    }
  }
}

function textIn(secret: KubeObject, key: string): string {
  const data = secret['data'] as Record<string, string> | undefined;
  return Buffer.from(data?.[key] ?? '', 'base64').toString('utf8');
}

function secretOf(name: string, key: string, text: string): KubeObject {
  return {
    metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'simmer' } },
    type: 'Opaque',
    stringData: { [key]: text },
  };
}
