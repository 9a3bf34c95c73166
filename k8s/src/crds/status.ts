/** The status of both kinds: what the control plane's StatusWriter writes. */
import type { Schema } from './structural.ts';

const count = (description: string): Schema => ({
  type: 'integer',
  format: 'int64',
  minimum: 0,
  description,
});

/** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties */
const CONDITION: Schema = {
  type: 'object',
  required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'],
  properties: {
    type: {
      type: 'string',
      maxLength: 316,
      description: 'Ready, Progressing, Degraded or Claimable.',
    },
    status: {
      type: 'string',
      enum: ['True', 'False', 'Unknown'],
      description: 'Whether it holds.',
    },
    observedGeneration: {
      ...count('The metadata.generation that it was judged by.'),
    },
    lastTransitionTime: {
      type: 'string',
      format: 'date-time',
      description: 'When `status` last changed.',
    },
    reason: {
      type: 'string',
      minLength: 1,
      maxLength: 1_024,
      pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
      description: 'Why, in one word for programs.',
    },
    message: { type: 'string', maxLength: 32_768, description: 'Why, in words for people.' },
  },
};

export const STATUS: Schema = {
  type: 'object',
  description: 'What the control plane last saw; it follows the pods by some seconds.',
  properties: {
    observedGeneration: count('The metadata.generation that the control plane has acted on.'),
    replicas: count('Pods there are, starting and leaving ones included; Jobs are not counted.'),
    readyReplicas: count('Pods that take invocations.'),
    desiredReplicas: count('Pods that are wanted now: at least spec.minReplicas.'),
    queued: count('Invocations that wait for a slot.'),
    misses: count('Invocations that found no free slot, since the control plane started.'),
    decidedBy: {
      type: 'string',
      maxLength: 64,
      description:
        'What decided desiredReplicas: minReplicas, maxReplicas, scale (who scales it from outside), load, panic (a burst) or keep-alive.',
    },
    claims: count(
      "Of a WarmPool: pods that have become functions', since the control plane started.",
    ),
    idlePodMinutes: count(
      'Of a WarmPool: minutes in which a pod idled, of all its pods together, since the control plane started; two digits are exact.',
    ),
    savedSeconds: count(
      'Of a WarmPool: what callers would have waited for, had each claim waited for a cold start; two digits are exact.',
    ),
    selector: {
      type: 'string',
      maxLength: 512,
      description: 'Label selector of the pods; the scale subresource hands it on.',
    },
    conditions: {
      type: 'array',
      maxItems: 16,
      description:
        'Ready: it can be called and has its minimum of pods. Progressing: pods are being started or replaced. Degraded: pods fail or cannot start, and why. Claimable, of a function where there are WarmPools: their pods may become its own; or why not.',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['type'],
      items: CONDITION,
    },
  },
};
