/** Walks every operation against the real server; api-contract.ts holds each answer against the document. */
import { openApiDocument } from '@simmer/protocol/api/openapi';
import t from 'tap';
import { breachOf, met } from './api-contract.ts';
import { type Answer, type RequestOptions, Simmer } from './simmer.ts';

interface Call {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}
interface Ids {
  readonly ended: string;
  readonly running: string;
  /** Two dead letters. */
  readonly dead: string;
  readonly alsoDead: string;
}
type Calls = (ids: Ids) => readonly Call[];

const call = (
  text: string,
  status: number,
  more: Omit<Call, 'method' | 'path' | 'status'> = {},
) => {
  const [method = '', path = ''] = text.split(' ');
  return { method, path, status, ...more };
};
const EMPTY = { body: '{}' };
const functionOf = (name: string, first = '') =>
  JSON.stringify({
    apiVersion: 'simmer.dev/v1alpha1',
    kind: 'Function',
    metadata: { name },
    spec: { minReplicas: 1, source: { inline: `${first}\nexport default () => 1;` } },
  });
const NO_BOOT = 'aaaaaaaaaaaa-1';

/** By operationId: at least its success, and what it answers to what is wrong. */
const WALK: Readonly<Record<string, Calls>> = {
  invoke: () => [
    call('POST /v1/functions/fn:invoke', 200, { body: '{"input": {"echo": 1}}' }),
    call('POST /v1/functions/fn:invoke', 400, { body: '{', code: 'invalid_json' }),
    call('POST /v1/functions/fn:invoke', 400, { body: '[]', code: 'invalid_envelope' }),
    call('POST /v1/functions/fn:invoke', 500, {
      body: '{"input": {"error": "no"}}',
      code: 'function_error',
    }),
    call('POST /v1/functions/fn:invoke', 400, {
      ...EMPTY,
      headers: { 'x-timeout-ms': 'soon' },
      code: 'invalid_timeout',
    }),
    call('POST /v1/functions/fn:invoke', 400, {
      ...EMPTY,
      headers: { 'x-max-retries': '1000' },
      code: 'invalid_retries',
    }),
    call('POST /v1/functions/fn:invoke', 400, {
      ...EMPTY,
      headers: { 'idempotency-key': 'k'.repeat(256) },
      code: 'invalid_idempotency_key',
    }),
    ...[200, 200].map((status) =>
      call('POST /v1/functions/fn:invoke', status, {
        ...EMPTY,
        headers: { 'idempotency-key': 'k' },
      }),
    ),
    call('POST /v1/functions/fn:invoke', 422, {
      body: '{"input": 1}',
      headers: { 'idempotency-key': 'k' },
      code: 'idempotency_key_reused',
    }),
    call('POST /v1/functions/none:invoke', 404, { ...EMPTY, code: 'function_not_found' }),
    call('POST /v1/functions/No:invoke', 400, { ...EMPTY, code: 'invalid_function_name' }),
    call('POST /v1/functions/small:invoke', 413, {
      body: `{"input": "${'x'.repeat(100)}"}`,
      code: 'payload_too_large',
    }),
    call('POST /v1/functions/closed:invoke', 429, { ...EMPTY, code: 'queue_full' }),
    call('POST /v1/functions/broken:invoke', 503, { ...EMPTY, code: 'no_capacity' }),
  ],
  enqueue: () => [
    call('POST /v1/functions/fn:enqueue', 202, EMPTY),
    call('POST /v1/functions/fn:enqueue', 400, { body: '{', code: 'invalid_json' }),
    call('POST /v1/functions/none:enqueue', 404, { ...EMPTY, code: 'function_not_found' }),
  ],
  'raw-post': () => [call('POST /fn/fn/some/path?a=b', 200, EMPTY)],
  'raw-get': () => [
    call('GET /fn/fn', 200),
    call('GET /fn/none', 404, { code: 'function_not_found' }),
  ],
  'raw-put': () => [call('PUT /fn/fn', 200, EMPTY)],
  'raw-patch': () => [call('PATCH /fn/fn', 200, EMPTY)],
  'raw-delete': () => [call('DELETE /fn/fn', 200)],
  'raw-options': () => [call('OPTIONS /fn/fn', 200)],
  'raw-head': () => [call('HEAD /fn/fn', 200)],
  listFunctions: () => [
    call('GET /v1/functions', 200),
    call('PATCH /v1/functions', 405, { code: 'method_not_allowed' }),
  ],
  getFunction: () => [
    call('GET /v1/functions/fn', 200),
    call('GET /v1/functions/none', 404, { code: 'function_not_found' }),
    call('GET /v1/functions/No', 400, { code: 'invalid_function_name' }),
  ],
  getCallbackKey: () => [
    call('GET /v1/functions/fn/callback-key', 200),
    call('GET /v1/functions/none/callback-key', 404, { code: 'function_not_found' }),
    call('GET /v1/functions/No/callback-key', 400, { code: 'invalid_function_name' }),
  ],
  createFunction: () => [
    call('POST /v1/functions', 201, { body: functionOf('made') }),
    call('POST /v1/functions?wait=0', 202, {
      body: functionOf('slow', 'await new Promise(() => {});'),
    }),
    call('POST /v1/functions', 409, { body: functionOf('made'), code: 'function_exists' }),
    call('POST /v1/functions', 400, { ...EMPTY, code: 'invalid_manifest' }),
    call('POST /v1/functions?wait=x', 400, { ...EMPTY, code: 'invalid_query' }),
    call('POST /v1/functions', 422, {
      body: functionOf('bad', 'throw new Error("on purpose");'),
      code: 'function_not_ready',
    }),
  ],
  putFunction: () => [
    call('PUT /v1/functions/made', 200, { body: functionOf('made', '// another') }),
    call('PUT /v1/functions/put', 201, { body: functionOf('put') }),
    call('PUT /v1/functions/No', 400, { ...EMPTY, code: 'invalid_function_name' }),
    call('PUT /v1/functions/made', 412, {
      body: functionOf('made'),
      headers: { 'if-match': '"x"' },
      code: 'precondition_failed',
    }),
  ],
  putCode: () => [
    call('PUT /v1/functions/made/code', 200, {
      body: 'export default () => 1;',
      headers: { 'content-type': 'text/javascript' },
    }),
    call('PUT /v1/functions/made/code', 415, { body: '', code: 'unsupported_media_type' }),
    call('PUT /v1/functions/made/code', 400, {
      body: '',
      headers: { 'content-type': 'text/javascript' },
      code: 'invalid_bundle',
    }),
    call('PUT /v1/functions/none/code', 404, {
      body: 'x',
      headers: { 'content-type': 'text/javascript' },
      code: 'function_not_found',
    }),
  ],
  getCode: () => [
    call('GET /v1/functions/made/code', 200),
    call('GET /v1/functions/none/code', 404, { code: 'function_not_found' }),
  ],
  deleteFunction: () => [
    call('DELETE /v1/functions/made', 204),
    call('DELETE /v1/functions/made', 404, { code: 'function_not_found' }),
  ],
  listPools: () => [call('GET /v1/pools', 200)],
  getPool: () => [
    call('GET /v1/pools/fn', 200),
    call('GET /v1/pools/fn?kind=WarmPool', 404, { code: 'pool_not_found' }),
    call('GET /v1/pools/No', 400, { code: 'invalid_function_name' }),
  ],
  listExecutions: () => [
    call('GET /v1/executions?limit=1', 200),
    call('GET /v1/executions?limit=0', 400, { code: 'invalid_query' }),
  ],
  getExecution: ({ ended, running }) => [
    call(`GET /v1/executions/${ended}?wait=30`, 200),
    call(`GET /v1/executions/${running}`, 200),
    call(`GET /v1/executions/${ended}?wait=x`, 400, { code: 'invalid_query' }),
    call('GET /v1/executions/never', 404, { code: 'execution_not_found' }),
    call(`GET /v1/executions/${NO_BOOT}`, 410, { code: 'lost_in_restart' }),
  ],
  getExecutionLogs: ({ ended }) => [
    call(`GET /v1/executions/${ended}/logs`, 200),
    call('GET /v1/executions/never/logs', 404, { code: 'execution_not_found' }),
    call(`GET /v1/executions/${NO_BOOT}/logs`, 410, { code: 'lost_in_restart' }),
  ],
  cancelExecution: ({ ended, running }) => [
    call(`DELETE /v1/executions/${running}`, 200),
    call(`DELETE /v1/executions/${ended}`, 409, { code: 'execution_ended' }),
    call('DELETE /v1/executions/never', 404, { code: 'execution_not_found' }),
  ],
  listDeadLetters: () => [
    call('GET /v1/dead-letters?function=fn&limit=1', 200),
    call('GET /v1/dead-letters?limit=0', 400, { code: 'invalid_query' }),
  ],
  getDeadLetter: ({ dead }) => [
    call(`GET /v1/dead-letters/${dead}`, 200),
    call('GET /v1/dead-letters/never', 404, { code: 'dead_letter_not_found' }),
    call(`GET /v1/dead-letters/${NO_BOOT}`, 410, { code: 'lost_in_restart' }),
  ],
  replayDeadLetter: ({ dead }) => [
    call(`POST /v1/dead-letters/${dead}:replay`, 202),
    call(`POST /v1/dead-letters/${dead}:replay`, 404, { code: 'dead_letter_not_found' }),
  ],
  deleteDeadLetter: ({ alsoDead }) => [
    call(`DELETE /v1/dead-letters/${alsoDead}`, 204),
    call(`DELETE /v1/dead-letters/${alsoDead}`, 404, { code: 'dead_letter_not_found' }),
  ],
  replayDeadLetters: () => [
    call('POST /v1/dead-letters:replay?function=fn', 202),
    call('POST /v1/dead-letters:replay', 400, { code: 'invalid_query' }),
  ],
  deleteDeadLetters: () => [
    call('DELETE /v1/dead-letters?function=fn', 200),
    call('DELETE /v1/dead-letters', 400, { code: 'invalid_query' }),
  ],
  // That it upgrades is tested with its messages.
  stream: () => [call('GET /v1/stream', 426, { code: 'upgrade_required' })],
  getOpenApi: () => [call('GET /openapi.json', 200)],
  getDocs: () => [call('GET /docs', 200)],
  getDocsFile: () => [
    call('GET /docs/errors', 200),
    call('GET /docs/swagger-ui.css', 200),
    call('GET /docs/swagger-ui-bundle.js', 200),
    call('GET /docs/none', 404, { code: 'route_not_found' }),
  ],
};

interface Operations {
  readonly paths: Record<string, Record<string, { operationId: string; responses: object }>>;
}
const { paths } = openApiDocument('0.0.0') as unknown as Operations;
const operations = Object.values(paths).flatMap((path) => Object.values(path));

t.test('every operation is walked', async (t) => {
  const ids = operations.map(({ operationId }) => operationId);
  t.same(Object.keys(WALK).sort(), ids.sort());
});

t.test('each answers as it is described', async (t) => {
  const simmer = await Simmer.start(
    t,
    [
      { name: 'fn', spec: { maxReplicas: 4, minReplicas: 1, retry: { maxRetries: 0 } } },
      { name: 'small', spec: { maxRequestBytes: 20 } },
      { name: 'closed', spec: { overflow: 0, queue: { maxLength: 0 } } },
      { name: 'broken', code: 'throw new Error("broken on purpose");' },
    ],
    { ready: false },
  );
  const gate = simmer.gate();
  const enqueue = async (input: object) =>
    (
      await simmer.request('/v1/functions/fn:enqueue', {
        method: 'POST',
        body: JSON.stringify({ input }),
      })
    ).json.executionId as string;
  const dead = await enqueue({ error: 'on purpose' });
  const alsoDead = await enqueue({ error: 'on purpose' });
  for (const id of [dead, alsoDead]) await simmer.request(`/v1/executions/${id}?wait=30`);
  const ids = {
    ...{ ended: await enqueue({ echo: 2 }), running: await enqueue({ wait: gate }) },
    ...{ dead, alsoDead },
  };
  // The first call learns that its pods do not start; from then on nothing is taken.
  await simmer.invoke('broken');
  for (const [id, calls] of Object.entries(WALK)) {
    for (const { method, path, status, code, headers, body } of calls(ids)) {
      const options: RequestOptions = {
        method,
        ...(headers && { headers }),
        ...(body && { body }),
      };
      const answer = await simmer.request(path, options);
      const name = `${id}: ${method} ${path} ${status} ${code ?? ''}`;
      t.equal(answer.status, status, name);
      if (code !== undefined) t.equal(answer.json.code, code, name);
    }
  }
  for (const { operationId, responses } of operations) {
    const successes = Object.keys(responses).filter((status) => status.startsWith('2'));
    // What a raw call answers is its handler's.
    if (operationId.startsWith('raw-') || operationId === 'stream') continue;
    const were = successes.filter((status) => met.has(`${operationId} ${status}`));
    t.ok(were.length > 0, `${operationId} ${were} of ${successes}`);
  }
});

t.test('what is not described is found', async (t) => {
  const answer = (status: number, type: string, text: string, headers = {}): Answer => ({
    ...{ status, text, body: Buffer.from(text) },
    headers: { 'x-execution-id': 'x', 'content-type': type, ...headers },
    get json() {
      return JSON.parse(text);
    },
  });
  const breach = (path: string, given: Answer) => breachOf('GET', path, given);
  const list = '{"executions":[]}';
  const path = '/v1/executions?limit=1';
  t.equal(breach(path, answer(200, 'application/json', list)), undefined);
  t.match(breach(path, answer(201, 'application/json', list)), /status is not described/);
  t.match(breach(path, answer(200, 'text/plain', list)), /content type/);
  t.match(breach(path, answer(200, 'application/json', '{}')), /must have required/);
  t.match(
    breach(path, answer(200, 'application/json', '{"executions":[],"more":1}')),
    /additional properties/,
  );
  t.match(breach(path, answer(200, 'application/json', list, { 'x-new': '1' })), /header x-new/);
  t.match(breach('/v1/nothing', answer(200, 'application/json', list)), /no such operation/);
  const problem = (code: string, status: number) =>
    answer(
      status,
      'application/problem+json',
      JSON.stringify({ type: 'x', title: 'x', status, code, detail: 'x' }),
    );
  t.equal(breach(path, problem('invalid_query', 400)), undefined);
  t.match(breach(path, problem('bad_input', 400)), /must be equal to one of/);
});
