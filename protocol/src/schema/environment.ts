/** `spec.env` and `spec.source`: what a handler is given, and its code where that is not in an image. */
import { Type } from 'typebox';
import { closed, dataKey, objectName, optionalFlag } from './common.ts';

/** Of inline code, in characters: an object's place in etcd is bounded, and a larger function wants an image. */
export const MAX_INLINE_SOURCE_LENGTH = 262_144;

const keyRef = (kind: string) =>
  Type.Optional(
    Type.Object(
      {
        name: objectName(`Name of the ${kind}, in the function's namespace.`),
        key: dataKey('The key whose value it is.'),
        optional: optionalFlag(`Whether the pod starts although ${kind} or key does not exist.`),
      },
      { ...closed, description: `The value of one key of a ${kind}.` },
    ),
  );

const ValueFrom = Type.Object(
  {
    secretKeyRef: keyRef('Secret'),
    configMapKeyRef: keyRef('ConfigMap'),
    fieldRef: Type.Optional(
      Type.Object(
        {
          fieldPath: Type.String({
            minLength: 1,
            maxLength: 317,
            description: 'For example `metadata.name` or `spec.nodeName`.',
          }),
          apiVersion: Type.Optional(
            Type.String({ maxLength: 63, description: 'Version of the field path; `v1`.' }),
          ),
        },
        { ...closed, description: "A field of the handler's own pod." },
      ),
    ),
  },
  {
    ...closed,
    description: 'Where the value comes from: exactly one. Kubernetes backend only.',
  },
);

export const EnvVar = Type.Object(
  {
    name: Type.String({
      pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
      maxLength: 256,
      description: 'Name of the variable. `SIMMER_` is reserved.',
    }),
    value: Type.Optional(Type.String({ maxLength: 65_536, description: 'Its value.' })),
    valueFrom: Type.Optional(ValueFrom),
  },
  closed,
);

export const Source = Type.Object(
  {
    inline: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: MAX_INLINE_SOURCE_LENGTH,
        description: 'The code itself, of at most 262144 characters.',
      }),
    ),
    configMap: Type.Optional(
      Type.Object(
        {
          name: objectName("Name of the ConfigMap, in the function's namespace."),
          key: dataKey('The key that holds the code.'),
        },
        { ...closed, description: 'The code is the value of a key of a ConfigMap.' },
      ),
    ),
    bundle: Type.Optional(
      Type.String({
        pattern: '^sha256:[0-9a-f]{64}$',
        maxLength: 71,
        description:
          'The digest of a module or a gzipped tar that was uploaded: `PUT /v1/functions/{name}/code` sets it.',
      }),
    ),
    folder: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4_096,
        description:
          'A folder, relative to the manifest, whose files are the code; read again when they change. Only with the registry `folder`.',
      }),
    ),
  },
  {
    ...closed,
    description:
      'The code of the function where it is in no image: exactly one of inline, configMap, bundle and folder. It reaches the pod over its socket. It is one module, of no imports but those of Node itself and of the image, whose name, and so its language, `handler` tells; or, with bundle and folder, files with their dependencies, of which `handler` names the module to load.',
  },
);
