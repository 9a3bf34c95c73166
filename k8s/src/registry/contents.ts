/**
 * What stands in the Secrets and ConfigMaps of one namespace: Secrets as hashes, so that a change of content is seen and nothing
 * secret is held. Values are read of those alone that a function wants whose pods may run already (secret-values.ts). ConfigMaps
 * keep their text, which may be a function's code.
 */
import { createHash } from 'node:crypto';
import { type Api, CONFIG_MAPS, type KubeLog, type KubeObject, SECRETS } from '../api/api.ts';
import { systemClock } from '../api/clock.ts';
import { Informer } from '../api/informer.ts';
import { CODE_LABEL } from '../code/config-map-shelf.ts';
import type { Value } from './environment.ts';
import type { Reference } from './references.ts';
import { SecretValues } from './secret-values.ts';

/** A Secret of which only the hashes of its values are kept, or a whole ConfigMap. */
interface Content extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

/** What a reference comes to where nothing is there. */
const ABSENT = 'absent';

export class Contents {
  private readonly secrets: Informer<Content>;
  private readonly configMaps: Informer<Content>;

  private readonly secretValues: SecretValues;
  private changes = 0;

  constructor(api: Api, namespace: string, log: KubeLog, onChange: () => void) {
    const changed = () => {
      this.changes += 1;
      onChange();
    };
    this.secretValues = new SecretValues({
      read: (name) => api.find(SECRETS, namespace, name),
      onRead: changed,
      onError: (name, { message }) =>
        log.warn({ namespace }, `cannot read Secret ${name}: ${message}`),
      clock: systemClock,
    });
    this.secrets = new Informer(api, SECRETS, { namespace, log, reduce: hashed });
    // Not the uploaded code that may be kept in the same namespace (config-map-shelf.ts): tens of megabytes that nothing refers to.
    const labelSelector = `!${CODE_LABEL}`;
    this.configMaps = new Informer(api, CONFIG_MAPS, { namespace, log, labelSelector });
    for (const informer of [this.secrets, this.configMaps]) {
      informer.onChange(changed);
    }
  }

  /** Resolves once both are known, or known not to be readable. */
  async start(): Promise<void> {
    await Promise.all([this.secrets.startOrDenied(), this.configMaps.startOrDenied()]);
  }

  stop(): void {
    this.secrets.stop();
    this.configMaps.stop();
    this.secretValues.close();
  }

  /** Another number after each change. */
  get version(): number {
    return this.changes;
  }

  get informers(): readonly Informer[] {
    return [this.secrets, this.configMaps] as readonly unknown[] as readonly Informer[];
  }

  /** Why what it refers to cannot be known; undefined where it is (absence is known, too). */
  unknown(kind: Reference['kind']): string | undefined {
    const informer = kind === 'Secret' ? this.secrets : this.configMaps;
    if (informer.synced) return undefined;
    return informer.problem ?? `the ${kind}s of the namespace are not read yet`;
  }

  /** Changes with what it refers to: the value of the key, or every key and value. */
  digest({ kind, name, key }: Reference): string {
    const object = (kind === 'Secret' ? this.secrets : this.configMaps).get(name);
    if (object === undefined) return ABSENT;
    const values = { ...object.binaryData, ...object.data };
    if (key !== undefined) return values[key] === undefined ? ABSENT : hash(values[key]);
    const sorted = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
    return hash(JSON.stringify(sorted));
  }

  /** The value of a Secret's key, for an environment. Read when it is asked for; then `onChange` follows. */
  secret(name: string, key: string): Value {
    const known = this.secrets.get(name);
    if (known?.data?.[key] === undefined) {
      return { reason: `there is no key ${key} in a Secret ${name}`, absent: true };
    }
    const { resourceVersion = '' } = known.metadata;
    const secret = this.secretValues.get(name, resourceVersion) as Content | undefined;
    const value = secret?.data?.[key];
    // Another one than the watch has shown: that will follow.
    if (value === undefined || hashOf(known, value) !== known.data[key]) {
      return { reason: `Secret ${name} is being read`, absent: false };
    }
    return { value: Buffer.from(value, 'base64').toString() };
  }

  configMap(name: string, key: string): Value {
    const found = this.read(name, key);
    if (typeof found === 'string') return { reason: found, absent: true };
    return { value: Buffer.from(found).toString() };
  }

  /** Every function was looked at: values that none asked for are forgotten. */
  sweep(): void {
    this.secretValues.sweep();
  }

  /** The bytes of a ConfigMap's key; or why there are none. */
  read(name: string, key: string): Uint8Array | string {
    const object = this.configMaps.get(name);
    if (object === undefined) return `there is no ConfigMap ${name}`;
    const text = object.data?.[key];
    if (text !== undefined) return Buffer.from(text);
    const binary = object.binaryData?.[key];
    if (binary !== undefined) return Buffer.from(binary, 'base64');
    return `ConfigMap ${name} has no key ${key}`;
  }
}

/**
 * Salted with the Secret's UID: what follows from the hashes stands in a label of each pod, and who may read pods but no
 * Secrets must not find a short password by trying.
 */
function hashed(object: KubeObject): KubeObject {
  const { apiVersion = 'v1', kind = 'Secret', metadata } = object;
  const data: Record<string, string> = {};
  for (const [key, value] of Object.entries((object as Content).data ?? {})) {
    data[key] = hashOf(object, value);
  }
  const { name, namespace, uid, resourceVersion } = metadata;
  // Annotations may hold the values once more (`last-applied-configuration`).
  return {
    apiVersion,
    kind,
    metadata: {
      ...(name !== undefined && { name }),
      ...(namespace !== undefined && { namespace }),
      ...(uid !== undefined && { uid }),
      ...(resourceVersion !== undefined && { resourceVersion }),
    },
    data,
  };
}

function hashOf({ metadata }: KubeObject, value: string): string {
  return hash(`${metadata.uid}\0${value}`);
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
