/** The spec of a `Function`. */
import { Type } from 'typebox';
import { DEFAULT_KEEP_ALIVE_MS } from '../keep-alive.ts';
import { NAME_PATTERN } from '../names.ts';
import { MAX_RETRIES, RETRY_CAUSES } from '../retry.ts';
import { closed, jsonSchema, maxReplicas, replicas } from './common.ts';
import { EnvVar, Source } from './environment.ts';
import { PodTemplateSchema } from './pod-template.ts';

const DAY_MS = 86_400_000;
/** A function's limits lie below what one process may sensibly hold in memory for one request. */
const MAX_BODY_BYTES = 1_073_741_824;
const BODY_BYTES = 10_485_760;
/** Of a reference to an image: a registry, a path, a tag and a digest. */
const MAX_IMAGE_LENGTH = 1_024;

/** http or https, a host, and no credentials. */
const CALLBACK_URL_PATTERN = '^https?://[^ /?#@\\\\]+([/?#][^ \\\\]*)?$';

export const image = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: MAX_IMAGE_LENGTH, description }));

export const FunctionSpecSchema = Type.Object(
  {
    runtime: Type.Enum(['node'], {
      default: 'node',
      description: 'The language runtime that loads the handler.',
    }),
    handler: Type.String({
      minLength: 1,
      maxLength: 4_096,
      description:
        "The module that exports the handler: a path relative to the manifest (process backend) or to the image's working directory. With `source`, the name of that module; `handler.js` where absent.",
    }),
    image: image(
      "The container image of its pods: Simmer's runtime image with the function's files. The control plane's stock runtime image where absent. Kubernetes backend only.",
    ),
    source: Type.Optional(Source),
    pool: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        maxLength: 40,
        description:
          'The WarmPool of its namespace whose pods may become its own; any `Shared` one that fits where absent.',
      }),
    ),
    env: Type.Array(EnvVar, {
      maxItems: 500,
      default: [],
      description: "Environment of the handler's process.",
    }),
    concurrency: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 1,
      description: 'Invocations that one pod runs at once (its slots).',
    }),
    minReplicas: replicas('Pods kept warm when nothing calls.', 0),
    maxReplicas: maxReplicas(
      'Pods that the pool may grow to. Jobs come on top, within `overflow`.',
    ),
    overflow: Type.Integer({
      minimum: 0,
      maximum: 1_000,
      default: 4,
      description: 'One-shot pods (Jobs) at once for misses that find the pool at its maximum.',
    }),
    overflowKind: Type.Enum(['Job', 'Pod'], {
      default: 'Job',
      description:
        'What a one-shot pod is on Kubernetes: of a Job, or a bare pod, which starts some milliseconds earlier.',
    }),
    keepAliveMs: Type.Integer({
      minimum: 0,
      maximum: DAY_MS,
      default: DEFAULT_KEEP_ALIVE_MS,
      description:
        'How long its last pods are kept, over the minimum, once nothing calls it, in milliseconds. With `scaling.keepAlive: HybridHistogram` until enough calls are known.',
    }),
    scaling: Type.Object(
      {
        targetUtilization: Type.Integer({
          minimum: 1,
          maximum: 100,
          default: 80,
          description: 'Per cent of their time that its slots are to be busy, on average.',
        }),
        stableWindowMs: Type.Integer({
          minimum: 6_000,
          maximum: 3_600_000,
          default: 60_000,
          description:
            'Over how long its load is measured, in milliseconds. A burst is seen in a tenth of it, and is over once none came for all of it.',
        }),
        scaleDownDelayMs: Type.Integer({
          minimum: 0,
          maximum: 3_600_000,
          default: 60_000,
          description:
            'For how long fewer pods must have been enough before the others are retired, in milliseconds.',
        }),
        keepAlive: Type.Optional(
          Type.Enum(['Fixed', 'HybridHistogram'], {
            description:
              'How long the last pods are kept once nothing calls: `Fixed`, for `keepAliveMs`; `HybridHistogram`, as long as it has learned to be worth it, and again before the next call is expected. Where absent, `Fixed` if `keepAliveMs` is another than its default.',
          }),
        ),
      },
      { ...closed, default: {}, description: 'How its load decides the size of its pool.' },
    ),
    startupTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 30_000,
      description: 'How long a pod may take from its launch until it is ready, in milliseconds.',
    }),
    timeoutMs: Type.Integer({
      minimum: 1,
      maximum: DAY_MS,
      default: 30_000,
      description:
        'Time an invocation has, its wait in the queue included, in milliseconds. A request may ask for another with X-Timeout-Ms.',
    }),
    deadlineMs: Type.Integer({
      minimum: 1,
      maximum: 7 * DAY_MS,
      default: 3_600_000,
      description:
        'Time an asynchronous execution has, its waits and retries included, in milliseconds; `timeoutMs` is for each of its attempts.',
    }),
    graceMs: Type.Integer({
      minimum: 0,
      maximum: 600_000,
      default: 1_000,
      description:
        'How long a handler may go on after its signal was aborted before its pod is killed, in milliseconds.',
    }),
    queue: Type.Object(
      {
        maxLength: Type.Integer({
          minimum: 0,
          maximum: 1_000_000,
          default: 100,
          description: 'Invocations that may wait for a slot. One more is refused with 429.',
        }),
        maxBytes: Type.Integer({
          minimum: 0,
          maximum: 17_179_869_184,
          default: 67_108_864,
          description: 'Bytes of the request bodies that are received, wait or run.',
        }),
      },
      { ...closed, default: {}, description: 'Bounds of what waits.' },
    ),
    inputSchema: jsonSchema(
      'What inputs of a default-export handler must be: others are refused with 400 `invalid_input` before it is called.',
    ),
    outputSchema: jsonSchema(
      'What its outputs must be, as JSON: another ends the call with 500 `invalid_output`.',
    ),
    rateLimit: Type.Optional(
      Type.Object(
        {
          requestsPerSecond: Type.Number({
            minimum: 0.001,
            maximum: 1_000_000,
            description: 'Invocations a second, on average.',
          }),
          burst: Type.Integer({
            minimum: 1,
            maximum: 1_000_000,
            description: 'Invocations at once, after a time without any.',
          }),
        },
        {
          ...closed,
          description:
            'Invocations that all callers together may ask for: a token bucket. One more is refused with 429 `rate_limited`. No limit where absent.',
        },
      ),
    ),
    retry: Type.Object(
      {
        maxRetries: Type.Integer({
          minimum: 0,
          maximum: MAX_RETRIES,
          default: 3,
          description:
            'Attempts that may follow the first. A request may ask for another number with X-Max-Retries.',
        }),
        on: Type.Array(Type.Enum(RETRY_CAUSES), {
          maxItems: 3,
          default: [...RETRY_CAUSES],
          description:
            'Which failures are retried: `lost`, the pod was lost with the attempt; `timeout`, it ran too long; `error`, the handler failed. A synchronous call is retried after `lost` only.',
        }),
        baseDelayMs: Type.Integer({
          minimum: 0,
          maximum: DAY_MS,
          default: 100,
          description:
            'Upper end of the random delay before the first retry, in milliseconds. It doubles with each.',
        }),
        maxDelayMs: Type.Integer({
          minimum: 0,
          maximum: DAY_MS,
          default: 30_000,
          description: 'Where the delay stops doubling, in milliseconds.',
        }),
      },
      { ...closed, default: {}, description: 'What follows an attempt that failed.' },
    ),
    callback: Type.Optional(
      Type.Object(
        {
          url: Type.String({
            pattern: CALLBACK_URL_PATTERN,
            maxLength: 2_048,
            description: 'An absolute http or https URL, without a user name or password.',
          }),
        },
        {
          ...closed,
          description:
            'Where the end of every asynchronous execution is told that does not name a `callbackUrl` itself.',
        },
      ),
    ),
    maxRequestBytes: Type.Integer({
      minimum: 0,
      maximum: MAX_BODY_BYTES,
      default: BODY_BYTES,
      description: 'Largest request body; a longer one is refused with 413.',
    }),
    maxResultBytes: Type.Integer({
      minimum: 0,
      maximum: MAX_BODY_BYTES,
      default: BODY_BYTES,
      description: 'Largest result that is not streamed; a longer one is result_too_large.',
    }),
    backend: Type.Optional(
      Type.String({
        pattern: NAME_PATTERN,
        maxLength: 40,
        description:
          "The backend that launches its pods; the control plane's default where absent.",
      }),
    ),
    template: Type.Optional(
      Type.Object(PodTemplateSchema.properties, {
        ...closed,
        description: 'What its pods are beyond image and environment. Kubernetes backend only.',
      }),
    ),
  },
  { ...closed, description: 'How the function is run.' },
);
