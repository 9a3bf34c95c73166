/** The spec of a `WarmPool`. */
import { Type } from 'typebox';
import { NAME_PATTERN } from '../names.ts';
import { closed, maxReplicas, replicas } from './common.ts';
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
    maxReplicas: maxReplicas('Generic pods at most.'),
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
