/**
 * The control plane's own keys, in a Secret of its own namespace, so that every replica and every later process has the
 * same: session keys, which prove pods that reconnect, the CA of the pod port, and what callbacks are signed with.
 *
 *     Secret simmer-keys:  ca.crt, ca.key (PEM) · sessions.json: [{id, key, createdAt}], the first signs, all verify ·
 *                          callback-secret: base64url, never renewed, since receivers hold keys that are derived from it
 *
 * Invariants:
 *  1. Whoever is first makes them; everyone uses what is stored.
 *  2. A rotation keeps the key before: pods that run hold sessions of it until they reconnect.
 *  3. Private keys touch no disk but a folder that only this user can read, and that `dispose` removes.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { POD_TLS_NAME } from '@simmer/protocol/runtime-environment';
import { type Api, isReason, type KubeObject, SECRETS } from '../api/api.ts';
import { isUsableCa, type KeyPair, makeCa, makeServerCertificate } from './certificates.ts';

export const KEYS_SECRET = 'simmer-keys';
const SESSIONS = 'sessions.json';
const CALLBACK_SECRET = 'callback-secret';
const KEY_BYTES = 32;
/** A start that finds the signing key older than this puts a new one before it. */
const ROTATE_AFTER_MS = 30 * 86_400_000;
/** The signing one and the one before (2). */
const KEPT_KEYS = 2;
/** Two starts at once: one of them writes, the other reads that. */
const MAX_TRIES = 5;

export interface SessionKey {
  readonly id: string;
  readonly key: Uint8Array;
}

export interface ControlPlaneKeys {
  /** The first signs, all verify. */
  readonly keys: readonly SessionKey[];
  /** What the keys are derived from that sign callbacks. */
  readonly callbackSecret: Uint8Array;
  /** What pods verify the pod port with. */
  readonly caPem: string;
  /** PEM files: what the pod port shows. Good for POD_TLS_NAME. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Removes the files. */
  dispose(): Promise<void>;
}

export interface EnsureKeysOptions {
  /** Name of a Secret of type kubernetes.io/tls (cert-manager's) to take the certificate and CA from, instead of our CA. */
  readonly tlsSecret?: string;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Where the private folder is made. */
  readonly folder?: string;
}

/** Reads the keys, and makes those that are missing. @throws {ApiError} naming a missing permission */
export async function ensureKeys(
  api: Api,
  namespace: string,
  options: EnsureKeysOptions = {},
): Promise<ControlPlaneKeys> {
  const now = (options.now ?? Date.now)();
  const stored = await ensureStored(api, namespace, now);
  const { caPem, server } =
    options.tlsSecret === undefined
      ? {
          caPem: stored.ca.cert,
          server: await makeServerCertificate(stored.ca, POD_TLS_NAME, now),
        }
      : await readTlsSecret(api, namespace, options.tlsSecret);
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'simmer-keys-')); // 3: mode 0700
  const certFile = join(folder, 'tls.crt');
  const keyFile = join(folder, 'tls.key');
  await writeFile(certFile, server.cert, { mode: 0o600 });
  await writeFile(keyFile, server.key, { mode: 0o600 });
  return {
    keys: stored.sessions.map(({ id, key }) => ({ id, key: Buffer.from(key, 'base64url') })),
    callbackSecret: Buffer.from(stored.callbackSecret, 'base64url'),
    caPem,
    certFile,
    keyFile,
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
}

/** As it stands in `sessions.json`. */
interface StoredSession {
  readonly id: string;
  /** base64url */
  readonly key: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

interface Stored {
  readonly ca: KeyPair;
  readonly sessions: readonly StoredSession[];
  /** base64url */
  readonly callbackSecret: string;
}

async function ensureStored(api: Api, namespace: string, now: number): Promise<Stored> {
  for (let tries = 1; ; tries++) {
    try {
      const secret = await api.find(SECRETS, namespace, KEYS_SECRET);
      const stored = secret === undefined ? undefined : read(secret);
      const wanted = await renewed(stored, now);
      if (secret === undefined) await api.create(SECRETS, namespace, secretOf(wanted));
      else if (wanted !== stored) {
        const { resourceVersion } = secret.metadata;
        const { stringData } = secretOf(wanted);
        // Only if nobody wrote since (1).
        const change = { metadata: { resourceVersion }, stringData };
        await api.patch(SECRETS, namespace, KEYS_SECRET, change);
      }
      return wanted;
    } catch (error) {
      const raced = ['AlreadyExists', 'Conflict', 'NotFound'].some((r) => isReason(error, r));
      if (!raced || tries === MAX_TRIES) throw error;
    }
  }
}

/** `stored` itself where it will do. */
async function renewed(stored: Stored | undefined, now: number): Promise<Stored> {
  const [current] = stored?.sessions ?? [];
  const young = current !== undefined && now - current.createdAt < ROTATE_AFTER_MS;
  const usable = stored !== undefined && isUsableCa(stored.ca, now);
  const signs = stored !== undefined && isKey(stored.callbackSecret);
  if (stored && young && usable && signs) return stored;
  const before = stored?.sessions ?? [];
  return {
    ca: usable ? stored.ca : await makeCa(now),
    sessions: young ? before : [newSession(now), ...before].slice(0, KEPT_KEYS), // 2
    callbackSecret: signs ? stored.callbackSecret : newKey(),
  };
}

function newSession(now: number): StoredSession {
  return {
    id: randomBytes(4).toString('hex'),
    key: newKey(),
    createdAt: now,
  };
}

function newKey(): string {
  return randomBytes(KEY_BYTES).toString('base64url');
}

function isKey(text: string): boolean {
  return Buffer.from(text, 'base64url').length >= KEY_BYTES;
}

function read(secret: KubeObject): Stored {
  return {
    ca: { cert: textIn(secret, 'ca.crt'), key: textIn(secret, 'ca.key') },
    sessions: sessionsIn(textIn(secret, SESSIONS)),
    callbackSecret: textIn(secret, CALLBACK_SECRET),
  };
}

/** Those that are keys; what somebody broke by hand is made anew. */
function sessionsIn(text: string): readonly StoredSession[] {
  let value: unknown;
  try {
    value = JSON.parse(text || '[]');
  } catch {
    return [];
  }
  if (!Array.isArray(value)) return [];
  return value.filter(
    (s): s is StoredSession =>
      typeof s?.id === 'string' &&
      /^[a-z0-9]{1,32}$/.test(s.id) &&
      typeof s.key === 'string' &&
      isKey(s.key) &&
      typeof s.createdAt === 'number',
  );
}

function textIn(secret: KubeObject, name: string): string {
  const data = secret['data'] as Record<string, string> | undefined;
  return Buffer.from(data?.[name] ?? '', 'base64').toString('utf8');
}

function secretOf(stored: Stored): KubeObject {
  return {
    metadata: { name: KEYS_SECRET, labels: { 'app.kubernetes.io/managed-by': 'simmer' } },
    type: 'Opaque',
    stringData: {
      'ca.crt': stored.ca.cert,
      'ca.key': stored.ca.key,
      [SESSIONS]: JSON.stringify(stored.sessions),
      [CALLBACK_SECRET]: stored.callbackSecret,
    },
  };
}

async function readTlsSecret(api: Api, namespace: string, name: string) {
  const secret = await api.get(SECRETS, namespace, name);
  const [caPem, cert, key] = ['ca.crt', 'tls.crt', 'tls.key'].map((k) => textIn(secret, k));
  if (!caPem || !cert || !key) {
    throw new Error(`Secret ${namespace}/${name} must hold ca.crt, tls.crt and tls.key`);
  }
  return { caPem, server: { cert, key } };
}
