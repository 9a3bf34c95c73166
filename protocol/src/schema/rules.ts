/**
 * What a manifest must hold beyond the shape of its fields. Each rule is said twice, in the API server's CEL and in
 * TypeScript, side by side and with one message: the tests hold the two together on a real API server.
 */

type Fields = Record<string, unknown>;

export interface Rule {
  /** Of what it judges: `spec`, `spec.source`, `spec.env[]` (each item). Absent values are not judged. */
  readonly path: string;
  /** The field that is named as wrong, below `path`: `.minReplicas`; '' for the value itself. */
  readonly field: string;
  /** https://kubernetes.io/docs/reference/using-api/cel/; `self` is the value at `path`. */
  readonly cel: string;
  readonly message: string;
  /** Behind the message: a value that it speaks of. In CEL a text that is put together costs more than a CRD may spend. */
  readonly shown?: (value: Fields) => unknown;
  readonly holds: (value: Fields) => boolean;
}

const list = (value: unknown): readonly Fields[] => (value ?? []) as readonly Fields[];

/** Exactly one of the optional fields `names`. */
function exactlyOne(path: string, names: readonly string[]): Rule {
  const all = names.map((name) => `has(self.${name})`).join(', ');
  return {
    path,
    field: '',
    cel: `[${all}].filter(given, given).size() == 1`,
    message: `must hold exactly one of ${names.join(', ')}`,
    holds: (value) => names.filter((name) => value[name] !== undefined).length === 1,
  };
}

/** Both kinds have `minReplicas`, `maxReplicas` and `template`. */
const POOL_RULES: readonly Rule[] = [
  {
    path: 'spec',
    field: '.minReplicas',
    cel: 'self.minReplicas <= self.maxReplicas',
    message: 'must be at most spec.maxReplicas',
    shown: (spec) => spec['maxReplicas'],
    holds: (spec) => (spec['minReplicas'] as number) <= (spec['maxReplicas'] as number),
  },
  exactlyOne('spec.template.envFrom[]', ['configMapRef', 'secretRef']),
  {
    path: 'spec.template',
    field: '.volumeMounts',
    cel: '!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))',
    message: 'must name volumes that stand in spec.template.volumes',
    holds: (template) =>
      list(template['volumeMounts']).every((mount) =>
        list(template['volumes']).some((volume) => volume['name'] === mount['name']),
      ),
  },
  {
    path: 'spec.template',
    field: '.labels',
    cel: "!has(self.labels) || !self.labels.exists(key, key.startsWith('simmer.dev/'))",
    message: 'labels that begin with simmer.dev/ are reserved',
    holds: (template) =>
      !Object.keys((template['labels'] ?? {}) as Fields).some((key) =>
        key.startsWith('simmer.dev/'),
      ),
  },
];

const FUNCTION_RULES: readonly Rule[] = [
  ...POOL_RULES,
  {
    path: 'spec.env[]',
    field: '.name',
    cel: "!self.name.startsWith('SIMMER_')",
    message: 'names that begin with SIMMER_ are reserved',
    holds: (variable) => !(variable['name'] as string).startsWith('SIMMER_'),
  },
  {
    path: 'spec.env[]',
    field: '',
    cel: 'has(self.value) || has(self.valueFrom)',
    message: 'lacks value or valueFrom',
    holds: (variable) => variable['value'] !== undefined || variable['valueFrom'] !== undefined,
  },
  {
    path: 'spec.env[]',
    field: '',
    cel: '!has(self.value) || !has(self.valueFrom)',
    message: 'must hold value or valueFrom, not both',
    holds: (variable) => variable['value'] === undefined || variable['valueFrom'] === undefined,
  },
  exactlyOne('spec.env[].valueFrom', ['secretKeyRef', 'configMapKeyRef', 'fieldRef']),
  exactlyOne('spec.source', ['inline', 'configMap', 'bundle', 'folder']),
];

export const RULES: Readonly<Record<'Function' | 'WarmPool', readonly Rule[]>> = {
  Function: FUNCTION_RULES,
  WarmPool: POOL_RULES,
};

/** The values at `path` below `root`, each with where it stands. */
function valuesAt(root: Fields, path: string): { at: string; value: Fields }[] {
  let found: { at: string; value: unknown }[] = [{ at: '', value: root }];
  for (const part of path.split('.')) {
    const name = part.replace('[]', '');
    found = found.flatMap(({ at, value }) => {
      const child = (value as Fields)[name];
      const here = at === '' ? name : `${at}.${name}`;
      if (child === undefined) return [];
      if (!part.endsWith('[]')) return [{ at: here, value: child }];
      return list(child).map((item, i) => ({ at: `${here}[${i}]`, value: item }));
    });
  }
  return found as { at: string; value: Fields }[];
}

/** Where a manifest of the right shape breaks a rule of its kind. */
export function brokenRules(
  kind: 'Function' | 'WarmPool',
  manifest: object,
): { field: string; reason: string }[] {
  return RULES[kind].flatMap((rule) =>
    valuesAt(manifest as Fields, rule.path)
      .filter(({ value }) => !rule.holds(value))
      .map(({ at, value }) => ({
        field: `${at}${rule.field}`,
        reason: rule.shown ? `${rule.message} (${rule.shown(value)})` : rule.message,
      })),
  );
}
