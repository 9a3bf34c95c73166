/** Which Secrets and ConfigMaps a function's pods read. Pure. */
import type { FunctionSpec } from '@simmer/protocol/manifest';

export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  /** Absent: every key. */
  readonly key?: string;
}

/**
 * By env, envFrom and volumes (projected ones included), in the order in which they stand. Pull secrets are not among
 * them: a running pod has its image. `source` neither: its code is part of the revision itself.
 */
export function referencesOf(spec: FunctionSpec): readonly Reference[] {
  const found: Reference[] = [];
  const add = (kind: Reference['kind'], name: unknown, key?: string): void => {
    if (typeof name === 'string' && name !== '') {
      found.push({ kind, name, ...(key !== undefined && { key }) });
    }
  };
  for (const { valueFrom } of spec.env) {
    const { secretKeyRef, configMapKeyRef } = valueFrom ?? {};
    if (secretKeyRef) add('Secret', secretKeyRef.name, secretKeyRef.key);
    if (configMapKeyRef) add('ConfigMap', configMapKeyRef.name, configMapKeyRef.key);
  }
  for (const { secretRef, configMapRef } of spec.template?.envFrom ?? []) {
    if (secretRef) add('Secret', secretRef.name);
    if (configMapRef) add('ConfigMap', configMapRef.name);
  }
  for (const volume of spec.template?.volumes ?? []) {
    const given = volume as Volume;
    add('Secret', given.secret?.secretName);
    add('ConfigMap', given.configMap?.name);
    const sources = given.projected?.sources;
    for (const source of Array.isArray(sources) ? sources : []) {
      add('Secret', source?.secret?.name);
      add('ConfigMap', source?.configMap?.name);
    }
  }
  return found;
}

/** The schema leaves the kinds of volumes open: what stands here may be anything. */
interface Volume {
  readonly secret?: { readonly secretName?: unknown } | null;
  readonly configMap?: { readonly name?: unknown } | null;
  readonly projected?: {
    readonly sources?: readonly ({
      readonly secret?: { readonly name?: unknown } | null;
      readonly configMap?: { readonly name?: unknown } | null;
    } | null)[];
  } | null;
}
