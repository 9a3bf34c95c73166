/**
 * The key of each function's pool, in a Secret that its pods read into their environment: what a pod proves its first
 * hello with. Who may only read pods cannot read it.
 *
 * Invariants:
 *  1. One function has one key as long as it exists, whoever makes it first.
 *  2. The Secret belongs to the Function object that there is now: one of a deleted namesake would be collected with it.
 *  3. A Secret that was deleted comes back with the same key: running pods have proved theirs, waiting ones still will.
 */
import { randomBytes } from 'node:crypto';
import { type Api, isReason, type KubeObject, SECRETS } from '../api/api.ts';
import { MANAGED_BY, MANAGER, POOL_SECRET_KEY, poolLabel, poolSecretName } from './names.ts';
import { ownerOf, split } from './pod-template.ts';

const KEY_BYTES = 32;
/** Between a read and a write another control plane or the garbage collector may have been there. */
const MAX_TRIES = 4;

interface Known {
  readonly uid: string | undefined;
  readonly key: Promise<string>;
}

export class PoolKeys {
  private readonly api: Api;
  private readonly known = new Map<string, Known>();

  constructor(api: Api) {
    this.api = api;
  }

  /** The function's key: made where there is none. Asks the API server once a function. @throws {ApiError} */
  of(functionKey: string, uid: string | undefined): Promise<string> {
    const known = this.known.get(functionKey);
    if (known && known.uid === uid) return known.key;
    return this.remember(functionKey, uid, this.ensure(functionKey, uid, newKey()));
  }

  /** The key as it is, for pods that were found; one that nobody has where there is none. @throws {ApiError} */
  async found(functionKey: string): Promise<string> {
    const known = this.known.get(functionKey);
    if (known) return known.key;
    const [namespace, name] = split(functionKey);
    const secret = await this.api.find(SECRETS, namespace, poolSecretName(name));
    return secret === undefined ? newKey() : keyIn(secret);
  }

  /** Makes the Secret again (3), where a pod could not start for want of it. @throws {ApiError} */
  async restore(functionKey: string): Promise<void> {
    const known = this.known.get(functionKey);
    if (!known) return;
    const key = this.ensure(functionKey, known.uid, await known.key);
    await this.remember(functionKey, known.uid, key);
  }

  /** The function is gone, or another one. */
  forget(functionKey: string): void {
    this.known.delete(functionKey);
  }

  /** The function of that UID is gone: so is its Secret. Its own collector may take minutes to see that. @throws {ApiError} */
  async remove(functionKey: string, uid: string): Promise<void> {
    this.forget(functionKey);
    const [namespace, name] = split(functionKey);
    const secret = await this.api.find(SECRETS, namespace, poolSecretName(name));
    if (secret?.metadata.ownerReferences?.[0]?.uid !== uid) return;
    await this.api.remove(SECRETS, namespace, poolSecretName(name), {
      uid: secret.metadata.uid ?? '',
    });
  }

  private remember(functionKey: string, uid: string | undefined, key: Promise<string>) {
    const known = { uid, key };
    this.known.set(functionKey, known);
    key.catch(() => {
      if (this.known.get(functionKey) === known) this.known.delete(functionKey);
    });
    return key;
  }

  private async ensure(
    functionKey: string,
    uid: string | undefined,
    fresh: string,
  ): Promise<string> {
    const [namespace, name] = split(functionKey);
    for (let tries = 1; ; tries++) {
      try {
        const secret = await this.api.find(SECRETS, namespace, poolSecretName(name));
        if (secret === undefined) {
          await this.api.create(SECRETS, namespace, secretOf(functionKey, uid, fresh));
          return fresh;
        }
        if (uid !== undefined && secret.metadata.ownerReferences?.[0]?.uid !== uid) {
          const ownerReferences = [ownerOf(functionKey, uid)];
          const metadata = { ownerReferences, uid: secret.metadata.uid };
          await this.api.patch(SECRETS, namespace, poolSecretName(name), { metadata }); // 2
        }
        return keyIn(secret); // 1
      } catch (error) {
        const raced = ['AlreadyExists', 'NotFound', 'Conflict'].some((r) => isReason(error, r));
        if (!raced || tries === MAX_TRIES) throw error;
      }
    }
  }
}

function newKey(): string {
  return randomBytes(KEY_BYTES).toString('base64url');
}

function keyIn(secret: KubeObject): string {
  const data = secret['data'] as Record<string, string> | undefined;
  const key = Buffer.from(data?.[POOL_SECRET_KEY] ?? '', 'base64').toString('utf8');
  if (key === '') {
    const { namespace, name } = secret.metadata;
    throw new Error(`Secret ${namespace}/${name} holds no ${POOL_SECRET_KEY}: delete it`);
  }
  return key;
}

function secretOf(functionKey: string, uid: string | undefined, key: string): KubeObject {
  const [namespace, name] = split(functionKey);
  return {
    metadata: {
      name: poolSecretName(name),
      namespace,
      labels: { [MANAGED_BY]: MANAGER, ...poolLabel(functionKey) },
      ...(uid !== undefined && { ownerReferences: [ownerOf(functionKey, uid)] }),
    },
    // Not immutable: a kubelet keeps such a one while any pod names it, and would give the pods of a function that was
    // deleted and made again the key of the one before.
    type: 'Opaque',
    stringData: { [POOL_SECRET_KEY]: key },
  };
}
