/** What a function's `env` comes to, where some of it stands in Secrets and ConfigMaps, for pods that run already. Pure but for what it asks for. */
import type { FunctionSpec } from '@simmer/protocol/manifest';
import type { GivenEnvironment } from '@simmer/protocol/registry';

/** What stands under a key; `reason`: why nothing does, or `absent` where that is certain. */
export type Value =
  | { readonly value: string }
  | { readonly reason: string; readonly absent: boolean };

export interface Values {
  secret(name: string, key: string): Value;
  configMap(name: string, key: string): Value;
}

/** Undefined where every variable stands in the manifest, or one is a field of a pod of its own. */
export function environmentOf(
  { env, source }: FunctionSpec,
  values: Values,
): GivenEnvironment | { readonly reason: string } | undefined {
  // Of no use to pods that are launched for it.
  if (source === undefined) return undefined;
  if (env.every(({ valueFrom }) => valueFrom === undefined)) return undefined;
  if (env.some(({ valueFrom }) => valueFrom?.fieldRef !== undefined)) return undefined;
  const given = { env: [] as [string, string][], secrets: [] as [string, string][] };
  for (const { name, value, valueFrom } of env) {
    const { secretKeyRef, configMapKeyRef } = valueFrom ?? {};
    if (value !== undefined) given.env.push([name, value]);
    const ref = secretKeyRef ?? configMapKeyRef;
    if (ref === undefined) continue;
    const found = secretKeyRef
      ? values.secret(ref.name, ref.key)
      : values.configMap(ref.name, ref.key);
    if ('value' in found) given[secretKeyRef ? 'secrets' : 'env'].push([name, found.value]);
    else if (!found.absent || ref.optional !== true) {
      return { reason: `its variable ${name}: ${found.reason}` };
    }
  }
  return given;
}
