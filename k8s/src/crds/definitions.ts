/**
 * The CustomResourceDefinitions, made from the schemas that validate manifests everywhere else.
 * k8s/manifests/crds holds them as YAML: `make docs` writes it, `make lint` compares.
 */
import {
  FunctionManifestSchema,
  RULES,
  type Rule,
  WarmPoolManifestSchema,
} from '@simmer/protocol/manifest';
import { NAME_PATTERN } from '@simmer/protocol/names';
import { STATUS } from './status.ts';
import { at, type Schema, structural } from './structural.ts';

const GROUP = 'simmer.dev';
const VERSION = 'v1alpha1';

interface Column {
  readonly name: string;
  readonly type: 'integer' | 'string' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Above 0: shown by `-o wide` only. */
  readonly priority?: number;
}

interface Kind {
  readonly kind: 'Function' | 'WarmPool';
  readonly plural: string;
  readonly shortName: string;
  readonly description: string;
  readonly schema: object;
  /** Beyond those of the manifests. */
  readonly rules: readonly Rule[];
  readonly columns: readonly Column[];
}

const integer = (name: string, field: string, description: string): Column => ({
  name,
  type: 'integer',
  jsonPath: `.status.${field}`,
  description,
});

const READY = integer('Ready', 'readyReplicas', 'Pods that take invocations');
const DESIRED = integer('Desired', 'desiredReplicas', 'Pods that are wanted now');
const DECIDED_BY: Column = {
  name: 'Decided-By',
  type: 'string',
  jsonPath: '.status.decidedBy',
  description: 'What decided how many pods are wanted',
  priority: 1,
};
const LAST_COLUMNS: readonly Column[] = [
  {
    name: 'Status',
    type: 'string',
    jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
    description: 'Why it is ready, or is not',
  },
  {
    name: 'Image',
    type: 'string',
    jsonPath: '.spec.image',
    description: 'The container image, where it is not the stock one',
    priority: 1,
  },
  {
    name: 'Age',
    type: 'date',
    jsonPath: '.metadata.creationTimestamp',
    description: 'Time since it was created',
  },
];

/** Needed where an object is read from the API server: resolveManifest fills the handler's name in. */
const HANDLER_OR_SOURCE: Rule = {
  path: 'spec',
  field: '',
  cel: 'has(self.handler) || has(self.source)',
  message: 'lacks handler (or source, where the code is given here)',
  holds: (spec) => spec['handler'] !== undefined || spec['source'] !== undefined,
};

const KINDS: readonly Kind[] = [
  {
    kind: 'Function',
    plural: 'functions',
    shortName: 'fn',
    description: 'A function: its code, and how its pods, queue and limits are set.',
    schema: FunctionManifestSchema.properties.spec,
    rules: [HANDLER_OR_SOURCE],
    columns: [
      READY,
      DESIRED,
      integer('Queue', 'queued', 'Invocations that wait for a slot'),
      integer('Misses', 'misses', 'Invocations that found no free slot'),
      DECIDED_BY,
      ...LAST_COLUMNS,
    ],
  },
  {
    kind: 'WarmPool',
    plural: 'warmpools',
    shortName: 'wp',
    description: 'A generic pool: warm pods of a runtime that hold no function yet.',
    schema: WarmPoolManifestSchema.properties.spec,
    rules: [],
    columns: [
      READY,
      DESIRED,
      integer('Claims', 'claims', "Pods that have become functions'"),
      integer(
        'Idle-Min',
        'idlePodMinutes',
        'Minutes in which a pod idled, of all its pods together',
      ),
      integer('Saved-S', 'savedSeconds', 'Seconds of cold starts that nobody waited for'),
      DECIDED_BY,
      ...LAST_COLUMNS,
    ],
  },
];

function schemaOf(kind: Kind): Schema {
  const root = structural(
    {
      type: 'object',
      description: kind.description,
      required: ['metadata', 'spec'],
      properties: {
        apiVersion: { type: 'string', description: `\`${GROUP}/${VERSION}\`` },
        kind: { type: 'string', description: `\`${kind.kind}\`` },
        // The bound keeps the cost of the rule below within the API server's budget.
        metadata: { type: 'object', properties: { name: { type: 'string', maxLength: 253 } } },
        spec: kind.schema,
        status: STATUS,
      },
    },
    [...RULES[kind.kind], ...kind.rules],
  );
  root['x-kubernetes-validations'] = [
    {
      rule: `self.metadata.name.matches('${NAME_PATTERN}')`,
      message: 'must be a DNS label of at most 40 characters',
      fieldPath: '.metadata.name',
    },
  ];
  const spec = at(root, 'spec');
  const needed = ((spec['required'] ?? []) as string[]).filter((name) => name !== 'handler');
  if (needed.length > 0) spec['required'] = needed;
  else delete spec['required'];
  // Names stand once, and appliers own one variable each.
  if (kind.kind === 'Function') {
    Object.assign(at(root, 'spec.env'), {
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
    });
  }
  return root;
}

/** The CRDs by the name of their file. */
export function customResourceDefinitions(): ReadonlyMap<string, Schema> {
  return new Map(
    KINDS.map((kind) => [
      `${kind.plural}.yaml`,
      {
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: {
          name: `${kind.plural}.${GROUP}`,
          labels: { 'app.kubernetes.io/part-of': 'simmer' },
        },
        spec: {
          group: GROUP,
          scope: 'Namespaced',
          names: {
            kind: kind.kind,
            listKind: `${kind.kind}List`,
            plural: kind.plural,
            singular: kind.kind.toLowerCase(),
            shortNames: [kind.shortName],
            categories: ['all', 'simmer'],
          },
          versions: [
            {
              name: VERSION,
              served: true,
              storage: true,
              schema: { openAPIV3Schema: schemaOf(kind) },
              subresources: {
                status: {},
                scale: {
                  specReplicasPath: '.spec.minReplicas',
                  statusReplicasPath: '.status.replicas',
                  labelSelectorPath: '.status.selector',
                },
              },
              additionalPrinterColumns: kind.columns,
            },
          ],
        },
      },
    ]),
  );
}
