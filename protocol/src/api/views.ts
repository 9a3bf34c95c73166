/**
 * What the public port answers, as schemas: the OpenAPI document is made from them, and tests hold every answer of the real server
 * against them. Closed: a field that does not stand here is no part of the API.
 *
 * Importing this loads TypeBox (manifest.ts says what that costs): never from the runtime or the scheduler thread.
 */
import { Type } from 'typebox';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { EXECUTION_MODES, EXECUTION_STATUSES } from '../executions.ts';
import { LOG_LEVELS } from '../frames.ts';
import { FunctionManifestSchema } from '../manifest.ts';
import { NAME_PATTERN } from '../names.ts';
import { closed } from '../schema/common.ts';

const count = (description: string) => Type.Integer({ minimum: 0, description });
const time = (description: string) => Type.String({ format: 'date-time', description });
const anything = (description: string) => Type.Unknown({ description });

const executionId = Type.String({
  pattern: '^[a-z0-9]{12}-[1-9][0-9]*$',
  description: 'The id of the execution; it begins with that of the process.',
});
const urlName = Type.String({ description: 'As in URLs: `name`, or `name.namespace`.' });

export const ProblemSchema = Type.Object(
  {
    type: Type.String({
      format: 'uri-reference',
      description: 'Where the code is described.',
    }),
    title: Type.String({ description: 'The same for every occurrence of the code.' }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    code: Type.Enum(Object.keys(ERRORS) as ErrorCode[], {
      description: 'Stable: programs decide by it.',
    }),
    detail: Type.String({ description: 'For people.' }),
    executionId: Type.Optional(executionId),
    attempts: Type.Optional(
      Type.Integer({ minimum: 1, description: 'How often the handler was started.' }),
    ),
    issues: Type.Optional(
      Type.Array(Type.Object({ field: Type.String(), reason: Type.String() }, closed), {
        description: 'What is wrong with a manifest: a dotted path and a sentence for each field.',
      }),
    ),
    errors: Type.Optional(
      Type.Array(Type.Object({ path: Type.String(), message: Type.String() }, closed), {
        description:
          'Fields that are wrong: a JSON Pointer into the value, and what is wrong there.',
      }),
    ),
  },
  { ...closed, description: 'Problem details (RFC 9457).' },
);

// ---- invocations -------------------------------------------------------------------------------------------------

const envelopeFields = {
  input: Type.Optional(anything("The handler's input.")),
  metadata: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description: 'Handed to the handler in `ctx`.',
    }),
  ),
};

export const EnvelopeSchema = Type.Object(envelopeFields, {
  description: 'What is called. An empty body is an empty envelope.',
});

export const EnqueuedSchema = Type.Object(
  {
    ...envelopeFields,
    callbackUrl: Type.Optional(
      Type.Union([Type.String({ format: 'uri', maxLength: 2_048 }), Type.Null()], {
        description:
          "Where its end is told: an http or https URL. The manifest's `callback.url` where absent; nowhere where null.",
      }),
    ),
  },
  { description: 'What is called. An empty body is an empty envelope.' },
);

export const CallbackKeySchema = Type.Object(
  { key: Type.String({ description: 'What signs, as it stands: 43 characters.' }) },
  closed,
);

export const InvokedSchema = Type.Object(
  {
    executionId,
    status: Type.Enum(['succeeded']),
    output: anything('What the handler returned.'),
  },
  closed,
);

export const AcceptedSchema = Type.Object(
  { executionId, status: Type.Enum([...EXECUTION_STATUSES]) },
  closed,
);

// ---- executions --------------------------------------------------------------------------------------------------

export const AttemptSchema = Type.Object(
  {
    number: Type.Integer({ minimum: 1 }),
    startedAt: time('When it was given to its pod.'),
    endedAt: Type.Optional(time('Absent while it runs.')),
    pod: Type.String(),
    backend: Type.String(),
    placement: Type.Enum(['warm', 'waited', 'grown', 'generic', 'job'], {
      description:
        "How it came by its slot: `warm`, one was free; `waited`, until one was; `grown`, of a pod that was launched meanwhile; `generic`, of a WarmPool's pod that became the function's; `job`, of a one-shot pod.",
    }),
    placementReason: Type.String({ description: 'Why no slot was free; empty where one was.' }),
    cold: Type.Boolean({ description: "Whether it was its pod's first." }),
    outcome: Type.Optional(
      Type.Enum(['ok', ...(Object.keys(ERRORS) as ErrorCode[])], {
        description: '`ok`, or the code that it failed with. Absent while it runs.',
      }),
    ),
    detail: Type.Optional(Type.String()),
  },
  closed,
);

export const DeliverySchema = Type.Object(
  {
    number: Type.Integer({ minimum: 1 }),
    startedAt: time('When the request began.'),
    endedAt: time('When it was answered, or given up.'),
    status: Type.Union([Type.Integer(), Type.Null()], {
      description: 'HTTP status of the answer; null where there was none.',
    }),
    detail: Type.String(),
  },
  { ...closed, description: 'One try to deliver a callback.' },
);

const executionFields = {
  executionId,
  mode: Type.Enum([...EXECUTION_MODES], {
    description:
      'Whether its caller waited for the result. Of a synchronous one no bodies are kept.',
  }),
  function: urlName,
  status: Type.Enum([...EXECUTION_STATUSES]),
  traceId: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  createdAt: time('When it was accepted.'),
  deadlineAt: time('When its time is over, retries included.'),
  replayOf: Type.Optional(
    Type.String({ description: 'The execution whose dead letter this one is the replay of.' }),
  ),
  nextAttemptAt: Type.Optional(time('While it waits for its next attempt.')),
  endedAt: Type.Optional(time('Absent while it has not ended.')),
  attempts: Type.Array(AttemptSchema),
  error: Type.Optional(ProblemSchema),
};

export const ExecutionSummarySchema = Type.Object(executionFields, closed);

export const ExecutionSchema = Type.Object(
  {
    ...executionFields,
    output: Type.Optional(anything('What the handler returned, where it succeeded.')),
  },
  closed,
);

export const ExecutionLogsSchema = Type.Object(
  {
    executionId,
    lines: Type.Array(
      Type.Object(
        {
          at: time('When it came.'),
          attempt: Type.Integer({ minimum: 1, description: 'Which attempt printed it.' }),
          level: Type.Enum([...LOG_LEVELS]),
          text: Type.String(),
        },
        closed,
      ),
    ),
    truncated: Type.Boolean({
      description:
        'Something is missing: a part of a line, or lines that were too many or have made way.',
    }),
  },
  closed,
);

const next = Type.Optional(
  Type.String({ description: 'The `cursor` of the next page; absent on the last.' }),
);

export const ExecutionListSchema = Type.Object(
  { executions: Type.Array(ExecutionSummarySchema), next },
  closed,
);

// ---- dead letters ------------------------------------------------------------------------------------------------

const letterFields = {
  id: Type.String({ description: "Of the letter. An execution's is that of the execution." }),
  reason: Type.Enum(['execution', 'callback'], { description: 'What failed for good.' }),
  executionId,
  function: urlName,
  traceId: Type.String({ pattern: '^[0-9a-f]{32}$' }),
  createdAt: time('When the execution was accepted.'),
  deadAt: time('When it was given up.'),
  bytes: count('Memory that it takes.'),
  replayOf: Type.Optional(
    Type.String({ description: 'The execution whose dead letter was replayed, and failed again.' }),
  ),
  url: Type.Optional(
    Type.String({ description: 'Of a callback: where it was to go, without its query.' }),
  ),
  error: ProblemSchema,
  attempts: Type.Array(Type.Union([AttemptSchema, DeliverySchema])),
};

export const DeadLetterSummarySchema = Type.Object(letterFields, closed);

export const DeadLetterSchema = Type.Object(
  {
    ...letterFields,
    input: Type.Optional(anything('Of an execution: what it was called with.')),
    metadata: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    body: Type.Optional(anything('Of a callback: what was to be delivered.')),
  },
  closed,
);

export const DeadLetterListSchema = Type.Object(
  { deadLetters: Type.Array(DeadLetterSummarySchema), next },
  closed,
);

export const ReplayedSchema = Type.Object(
  {
    replayed: Type.Array(executionId, { description: 'The new executions, oldest letter first.' }),
    remaining: count('Letters of this function that are left.'),
  },
  closed,
);

export const DeletedSchema = Type.Object({ deleted: count('Letters.') }, closed);

// ---- functions and pools -----------------------------------------------------------------------------------------

const name = {
  name: Type.String({ pattern: NAME_PATTERN }),
  namespace: Type.String({ pattern: NAME_PATTERN }),
  urlName,
};

const LastFailure = Type.Object(
  {
    code: Type.Enum(Object.keys(ERRORS) as ErrorCode[]),
    message: Type.String(),
    at: Type.Optional(time('When it happened.')),
    count: count('Failures in a row.'),
  },
  { description: 'Why pods of it did not get ready, last.' },
);

const FunctionStatus = Type.Object(
  {
    revision: Type.String({ description: 'Changes with what a running pod cannot take over.' }),
    pods: Type.Object(
      {
        launching: count('Not ready yet.'),
        idle: count('Ready, with nothing to do.'),
        busy: count('At least one attempt runs.'),
        draining: count('On their way out.'),
      },
      closed,
    ),
    queued: count('Invocations that wait for a slot.'),
    running: count('Attempts that run.'),
    accepted: count('Invocations since the start.'),
    succeeded: count('Of them.'),
    warmPools: Type.Object(
      {
        pools: Type.Array(Type.String(), {
          description: 'Names of the WarmPools whose pods may become its own.',
        }),
        reason: Type.Optional(Type.String({ description: 'Why there is none.' })),
      },
      closed,
    ),
    lastFailure: Type.Optional(LastFailure),
  },
  closed,
);

const { spec: FunctionSpec, metadata: Metadata } = FunctionManifestSchema.properties;

export const FunctionListSchema = Type.Object(
  {
    functions: Type.Array(
      Type.Object(
        {
          ...name,
          spec: Type.Pick(FunctionSpec, [
            'handler',
            'runtime',
            'concurrency',
            'minReplicas',
            'maxReplicas',
          ]),
          status: FunctionStatus,
        },
        closed,
      ),
    ),
  },
  closed,
);

const functionFields = { ...FunctionManifestSchema.properties, ...name };

export const FunctionSchema = Type.Object(
  { ...functionFields, status: FunctionStatus },
  { ...closed, description: 'Its manifest, which a PUT takes as it stands here, and how it is.' },
);

export const PendingFunctionSchema = Type.Object(
  {
    ...functionFields,
    status: Type.Optional(FunctionStatus),
    waitsFor: Type.String({ description: 'What is missing until the change serves.' }),
  },
  closed,
);

export const PendingRemovalSchema = Type.Object(
  { waitsFor: Type.String({ description: 'What is missing until it is gone.' }) },
  closed,
);

export const FunctionReplacementSchema = Type.Object(
  {
    ...Type.Partial(Type.Pick(FunctionManifestSchema, ['apiVersion', 'kind'])).properties,
    metadata: Type.Optional(Type.Partial(Metadata)),
    spec: FunctionSpec,
  },
  {
    description:
      'A manifest, of which all but `spec` may be left out; the name is that in the URL. Without `metadata`, labels and annotations stay.',
  },
);

const poolFields = {
  ...name,
  kind: Type.Enum(['Function', 'WarmPool']),
  revision: Type.String(),
  backend: Type.String({ description: 'What launches its pods.' }),
  minReplicas: count('Kept warm.'),
  maxReplicas: count('At most.'),
  desired: count('Pods that are wanted now.'),
  decidedBy: Type.Optional(
    Type.Enum(['minReplicas', 'maxReplicas', 'keep-alive', 'load', 'panic', 'scale'], {
      description:
        'What decided `desired`: its bounds, what was set at /scale, its load (of a WarmPool, its claims), a burst, or its keep-alive. Absent for functions past `metrics-functions`.',
    }),
  ),
  decision: Type.Optional(Type.String({ description: 'Why, in a sentence.' })),
  live: count('Pods, Jobs included.'),
  ready: count('Of them, idle or busy.'),
  idle: count('Of them.'),
  busy: count('Of them.'),
  launching: count('Of them.'),
  draining: count('Of them.'),
  stale: count('Of them, of an earlier revision.'),
  jobs: count('Of them, one-shot.'),
  claimed: Type.Optional(
    count("Of a WarmPool: pods that have become a function's and still take work; not of `live`."),
  ),
  lost: count('Pods that went with work on them, since the start.'),
  misses: Type.Record(Type.String(), count('How often.'), {
    description: 'What was decided for calls that found no free slot, by kind.',
  }),
  placements: Type.Record(Type.String(), count('How often.'), {
    description: 'How attempts came by their slots, by kind.',
  }),
  lastFailure: Type.Optional(LastFailure),
  launchesSuspendedMs: Type.Optional(
    count('After pods that crashed: how long none is launched, in milliseconds.'),
  ),
};

export const PoolListSchema = Type.Object(
  { pools: Type.Array(Type.Object(poolFields, closed)) },
  closed,
);

const amount = (description: string) => Type.Number({ minimum: 0, description });

const PoolCost = Type.Object(
  {
    podSeconds: amount('Time that pods were there, all of them together.'),
    idlePodSeconds: amount('Of it, that in which they were ready and had nothing to do.'),
    idleMibSeconds: amount('The same, times the memory of each in MiB.'),
    memoryMib: amount(
      'Memory of the pods there are: measured with the process backend, else what their template asks for.',
    ),
    coldStarts: count('Pods that were started, or claimed and loaded.'),
    coldStartSeconds: amount('What that took, on average.'),
    savedSeconds: amount(
      'What callers would have waited for, had each that a warm pod served (of a WarmPool: each claim) waited for a cold start.',
    ),
  },
  { ...closed, description: 'Since this control plane began to keep the pool.' },
);

export const PoolSchema = Type.Object(
  {
    ...poolFields,
    cost: PoolCost,
    pods: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          label: Type.Union([Type.String(), Type.Null()], {
            description: 'Process id or pod name; null until it runs.',
          }),
          kind: Type.Enum(['pool', 'job']),
          state: Type.Enum(['launching', 'idle', 'busy', 'draining']),
          inFlight: count('Attempts that run on it.'),
          ageMs: count('Since its launch, in milliseconds.'),
          stale: Type.Boolean({ description: 'Of an earlier revision.' }),
        },
        closed,
      ),
    ),
  },
  closed,
);
