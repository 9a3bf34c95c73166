/** `spec.template`: what a function's pods are beyond their image and environment. Kubernetes backend only. */
import { Type } from 'typebox';
import {
  closed,
  kubernetesPart,
  MAX_LIST_LENGTH,
  MAX_OBJECT_NAME_LENGTH,
  objectName,
  openEnded,
  optionalFlag,
  quantityMap,
  stringMap,
} from './common.ts';

const MAX_WORD_LENGTH = 4_096;
/** A week: what a pod may at most be given to finish. */
const MAX_GRACE_SECONDS = 604_800;
/** Largest user id that Linux and Kubernetes take. */
const MAX_UID = 2_147_483_647;

const words = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ maxLength: MAX_WORD_LENGTH }), {
      maxItems: MAX_LIST_LENGTH,
      description,
    }),
  );

const source = (kind: string) =>
  Type.Optional(
    Type.Object(
      {
        name: objectName(`Name of the ${kind}, in the function's namespace.`),
        optional: optionalFlag(`Whether the pod starts although the ${kind} does not exist.`),
      },
      { ...closed, description: `Every key of a ${kind}.` },
    ),
  );

export const EnvFrom = Type.Object(
  {
    prefix: Type.Optional(
      Type.String({ maxLength: 256, description: 'Put in front of each variable.' }),
    ),
    configMapRef: source('ConfigMap'),
    secretRef: source('Secret'),
  },
  closed,
);

const Toleration = Type.Object(
  {
    key: Type.Optional(Type.String({ maxLength: 317, description: 'Key of the taint.' })),
    operator: Type.Optional(
      Type.Enum(['Exists', 'Equal'], { description: 'How key and value are compared.' }),
    ),
    value: Type.Optional(Type.String({ maxLength: 63, description: 'Value of the taint.' })),
    effect: Type.Optional(
      Type.Enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute'], {
        description: 'Effect of the taint; every one where absent.',
      }),
    ),
    tolerationSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_UID,
        description: 'How long a NoExecute taint is borne, in seconds; without end where absent.',
      }),
    ),
  },
  closed,
);

const Volume = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 63, description: 'Name of the volume.' }),
  },
  openEnded,
);

const VolumeMount = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 63, description: 'Name of one of `volumes`.' }),
    mountPath: Type.String({
      minLength: 1,
      maxLength: MAX_WORD_LENGTH,
      description: 'Where the volume appears within the container.',
    }),
  },
  openEnded,
);

export const PodTemplateSchema = Type.Object(
  {
    labels: Type.Optional(
      stringMap('Labels of the pods and Jobs, beside those of Simmer.', {
        maxLength: 63,
        pattern: '^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$',
      }),
    ),
    annotations: Type.Optional(
      stringMap('Annotations of the pods and Jobs.', { maxLength: 65_536 }),
    ),
    imagePullSecrets: Type.Optional(
      Type.Array(
        Type.Object({ name: objectName("Name of a Secret in the function's namespace.") }, closed),
        {
          maxItems: MAX_LIST_LENGTH,
          description: 'Secrets that hold the credentials of the image registry.',
        },
      ),
    ),
    imagePullPolicy: Type.Optional(
      Type.Enum(['Always', 'IfNotPresent', 'Never'], {
        description:
          'When the node pulls the image. `Always` adds a question to the registry to each cold start.',
      }),
    ),
    command: words("Replaces the image's entry point; it must speak the pod protocol."),
    args: words("Replaces the arguments of the image's entry point."),
    envFrom: Type.Optional(
      Type.Array(EnvFrom, {
        maxItems: MAX_LIST_LENGTH,
        description:
          'Environment from whole Secrets and ConfigMaps; `env` goes first. Pods are replaced when the contents change.',
      }),
    ),
    resources: Type.Optional(
      Type.Object(
        {
          requests: Type.Optional(quantityMap('What a pod is sure of: cpu, memory, ...')),
          limits: Type.Optional(
            quantityMap('What a pod may not exceed. A cpu limit slows every burst down.'),
          ),
        },
        { ...closed, description: 'Compute resources of the container.' },
      ),
    ),
    nodeSelector: Type.Optional(stringMap('Labels that a node must have.')),
    tolerations: Type.Optional(
      Type.Array(Toleration, {
        maxItems: MAX_LIST_LENGTH,
        description: 'Taints of nodes that the pods bear.',
      }),
    ),
    affinity: Type.Optional(kubernetesPart('Affinity, as in a pod.')),
    topologySpreadConstraints: Type.Optional(
      Type.Array(kubernetesPart('One constraint, as in a pod.'), {
        maxItems: MAX_LIST_LENGTH,
        description: 'How the pods are spread over nodes and zones, as in a pod.',
      }),
    ),
    priorityClassName: Type.Optional(objectName('PriorityClass of the pods.')),
    runtimeClassName: Type.Optional(objectName('RuntimeClass of the pods (gVisor, Kata, ...).')),
    serviceAccountName: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_OBJECT_NAME_LENGTH,
        description:
          'ServiceAccount of the pods. Its token is not mounted: a handler that needs one mounts a projected volume, which costs about 300 ms of each cold start.',
      }),
    ),
    volumes: Type.Optional(
      Type.Array(Volume, {
        maxItems: MAX_LIST_LENGTH,
        description:
          'Volumes, as in a pod. The first one costs about 300 ms of each cold start, whatever its kind.',
      }),
    ),
    volumeMounts: Type.Optional(
      Type.Array(VolumeMount, {
        maxItems: MAX_LIST_LENGTH,
        description: "Where the volumes appear, as in a pod's container.",
      }),
    ),
    readOnlyRootFilesystem: Type.Boolean({
      default: false,
      description: "Whether the container's own file system may not be written to.",
    }),
    runAsUser: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_UID,
        description: "User id of the handler's process; the image's where absent. Never root.",
      }),
    ),
    securityContext: Type.Optional(
      kubernetesPart(
        "Security context of the container, laid over Simmer's restricted one field by field.",
      ),
    ),
    podSecurityContext: Type.Optional(
      kubernetesPart(
        "Security context of the pod, laid over Simmer's restricted one field by field.",
      ),
    ),
    terminationGracePeriodSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_GRACE_SECONDS,
        description:
          'How long an eviction lets a pod finish what it runs, in seconds; where absent, the longest time that a call may ask for, and `graceMs`.',
      }),
    ),
  },
  closed,
);
