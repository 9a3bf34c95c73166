/** The spec of a `WarmPool`. */
import { Type } from 'typebox';
import { NAME_PATTERN } from '../names.ts';
import {
  closed,
  MAX_LIST_LENGTH,
  MAX_OBJECT_NAME_LENGTH,
  MAX_POD_COUNT,
  maxReplicas,
  replicas,
} from './common.ts';
import { image } from './function.ts';
import { PodTemplateSchema } from './pod-template.ts';

export const WarmPoolSpecSchema = Type.Object(
  {
    runtime: Type.Enum(['node'], {
      default: 'node',
      description: 'The language runtime of its pods.',
    }),
    image: image(
      "The container image of its pods; the control plane's stock runtime image where absent. Kubernetes backend only.",
    ),
    minReplicas: replicas('Generic pods kept ready to become a function.', 0),
    maxReplicas: maxReplicas(
      'Pods at most, those that have become a function and still live included.',
    ),
    idle: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_POD_COUNT,
        description:
          'Pods that are to be ready and unclaimed; `minReplicas` where absent. Beside them as many are launched ahead as are claimed while one starts.',
      }),
    ),
    tenancy: Type.Enum(['Shared', 'Named'], {
      default: 'Shared',
      description:
        'Whose its pods may become: `Shared`, any function of the namespace that fits and names no other pool; `Named`, functions that name it in `spec.pool`.',
    }),
    maxShare: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 50,
      description:
        'The most of its pods, in per cent, that one function may hold while others wait. One that goes beyond never takes the last.',
    }),
    preload: Type.Array(
      Type.String({
        pattern: '^[^,\\s]+$',
        maxLength: MAX_OBJECT_NAME_LENGTH,
        description: 'As a file in the working directory of its pods would import it.',
      }),
      {
        maxItems: MAX_LIST_LENGTH,
        default: [],
        description:
          'Modules that its pods load before they become a function, which then finds them loaded.',
      },
    ),
    backend: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        maxLength: 40,
        description: 'The backend that launches its pods.',
      }),
    ),
    template: Type.Optional(
      Type.Object(PodTemplateSchema.properties, {
        ...closed,
        description: 'What its pods are beyond their image. Kubernetes backend only.',
      }),
    ),
  },
  { ...closed, description: 'How many generic pods are kept, and of what kind.' },
);
