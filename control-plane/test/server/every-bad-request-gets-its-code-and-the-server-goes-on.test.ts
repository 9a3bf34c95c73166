import t, { type Test } from 'tap';
import { head, RawSocket } from './raw-socket.ts';
import { type Answer, type RequestOptions, Simmer } from './simmer.ts';

const ELEVEN_MIB = 11 * 1_048_576;
const FRAGMENT = 65_536;

const simmer = await Simmer.start(t, [{ name: 'echo', spec: { minReplicas: 1 } }]);

function isProblem(t: Test, answer: Answer, status: number, code: string): void {
  t.equal(answer.status, status);
  t.equal(answer.headers['content-type'], 'application/problem+json');
  const { json, headers } = answer;
  t.match(json, { type: `/docs/errors#${code}`, status, code, title: String, detail: String });
  t.ok(headers['x-execution-id'], 'names the execution');
  t.equal(json.executionId, headers['x-execution-id']);
}

const INVOKE = '/v1/functions/echo:invoke';
const post = (body: string, headers: Record<string, string> = {}): RequestOptions => ({
  method: 'POST',
  body,
  headers,
});
const ENVELOPE = '{"input":{}}';

const CASES: readonly [what: string, path: string, RequestOptions, status: number, code: string][] =
  [
    ['broken JSON', INVOKE, post('{"input":'), 400, 'invalid_json'],
    ['bytes that are no UTF-8', INVOKE, { body: Buffer.from([0x22, 0xff, 0x22]) }, 400, 'invalid_'],
    ['an array', INVOKE, post('[1,2]'), 400, 'invalid_envelope'],
    ['a string', INVOKE, post('"input"'), 400, 'invalid_envelope'],
    ['null', INVOKE, post('null'), 400, 'invalid_envelope'],
    ['metadata that is a list', INVOKE, post('{"metadata":[]}'), 400, 'invalid_envelope'],
    ['metadata that is text', INVOKE, post('{"metadata":"m"}'), 400, 'invalid_envelope'],
    ['an unknown function', '/v1/functions/none:invoke', post(ENVELOPE), 404, 'function_not_found'],
    ['an unknown function, raw', '/fn/none/x', post('x'), 404, 'function_not_found'],
    ['an unknown namespace', '/fn/echo.other', post('x'), 404, 'function_not_found'],
    ['a name with ..', '/v1/functions/..:invoke', post(ENVELOPE), 400, 'invalid_function_name'],
    ['a raw name with ..', '/fn/../etc', post('x'), 400, 'invalid_function_name'],
    ['a name with %00', '/v1/functions/e%00o:invoke', post(ENVELOPE), 400, 'invalid_function_name'],
    ['a raw name with %00', '/fn/echo%00/x', post('x'), 400, 'invalid_function_name'],
    ['a name with %2e%2e', '/fn/%2e%2e/x', post('x'), 400, 'invalid_function_name'],
    ['a long name', `/fn/${'a'.repeat(300)}`, post('x'), 400, 'invalid_function_name'],
    [
      'a long name to invoke',
      `/v1/functions/${'a'.repeat(300)}:invoke`,
      post(ENVELOPE),
      400,
      'invalid_function_name',
    ],
    ['no name', '/fn/', post('x'), 400, 'invalid_function_name'],
    ['a name in capitals', '/fn/ECHO', post('x'), 400, 'invalid_function_name'],
    ['a prototype property', '/fn/constructor', post('x'), 404, 'function_not_found'],
    ['the function of no such name', '/v1/functions/none', {}, 404, 'function_not_found'],
    ['the pool of no such name', '/v1/pools/none', {}, 404, 'pool_not_found'],
    ['a function named by ..', '/v1/functions/..', {}, 400, 'invalid_function_name'],
    ['an unknown route', '/nothing/here', {}, 404, 'route_not_found'],
    ['the root', '/', {}, 404, 'route_not_found'],
    ['an unknown verb', '/v1/functions/echo:explode', post(ENVELOPE), 404, 'route_not_found'],
    ['a timeout of 0', INVOKE, post(ENVELOPE, { 'x-timeout-ms': '0' }), 400, 'invalid_timeout'],
    [
      'a negative timeout',
      INVOKE,
      post(ENVELOPE, { 'x-timeout-ms': '-5' }),
      400,
      'invalid_timeout',
    ],
    ['half a ms', INVOKE, post(ENVELOPE, { 'x-timeout-ms': '1.5' }), 400, 'invalid_timeout'],
    ['no number', INVOKE, post(ENVELOPE, { 'x-timeout-ms': 'soon' }), 400, 'invalid_timeout'],
    [
      'over the limit',
      INVOKE,
      post(ENVELOPE, { 'x-timeout-ms': '900001' }),
      400,
      'invalid_timeout',
    ],
    [
      'beyond any',
      INVOKE,
      post(ENVELOPE, { 'x-timeout-ms': '9'.repeat(400) }),
      400,
      'invalid_timeout',
    ],
    ['GET of :invoke', INVOKE, {}, 405, 'method_not_allowed'],
    ['DELETE of the list', '/v1/functions', { method: 'DELETE' }, 405, 'method_not_allowed'],
    ['POST to a pool', '/v1/pools/echo', post(''), 405, 'method_not_allowed'],
    [
      '11 MiB with a content-length',
      INVOKE,
      { body: Buffer.alloc(ELEVEN_MIB, 0x20) },
      413,
      'payload_too_large',
    ],
  ];

t.test('each has its status and code as problem details', async (t) => {
  for (const [what, path, options, status, code] of CASES) {
    await t.test(what, async (t) => {
      const answer = await simmer.request(path, options);
      const exact = code.endsWith('_') ? answer.json.code : code;
      t.match(answer.json.code, code);
      isProblem(t, answer, status, exact);
      if (status === 405) t.match(answer.headers.allow, /^(GET|POST)(, (GET|POST))*$/);
    });
  }
});

t.test('11 MiB whose length is not told beforehand are cut off with 413', async (t) => {
  const client = await RawSocket.open(simmer.port);
  client.write(head('POST', INVOKE, { 'Transfer-Encoding': 'chunked' }));
  const piece = Buffer.alloc(FRAGMENT, 0x20);
  for (let sent = 0; sent < ELEVEN_MIB && client.received === ''; sent += FRAGMENT) {
    client.write(`${FRAGMENT.toString(16)}\r\n`);
    client.write(piece);
    client.write('\r\n');
  }
  client.write('0\r\n\r\n');
  const answer = await client.until('the answer', /payload_too_large/);
  t.match(answer, /^HTTP\/1.1 413 /);
  t.match(answer, /x-execution-id: /);
  client.end();
});

t.test('an answer to HEAD has no body, so the connection stays in step', async (t) => {
  const client = await RawSocket.open(simmer.port);
  const paths = ['/fn/none', '/fn/..', '/nothing', '/v1/functions', '/fn/echo/x'];
  for (const path of paths) {
    client.received = '';
    client.write(head('HEAD', path));
    await client.until('the head', /\r\n\r\n/);
    client.write(head('GET', '/nothing'));
    await client.until(
      'the next answer',
      /\r\n\r\n\{.*route_not_found.*There is nothing at \/nothing/,
    );
    t.match(client.received, /^HTTP[^{]*content-length: [1-9][^{]*\r\n\r\nHTTP\/1.1 404 /i, path);
  }
  client.end();
});

t.test('afterwards it serves as before, and holds nothing', async (t) => {
  const answer = await simmer.invoke('echo', { echo: 'still here' });
  t.equal(answer.status, 200);
  t.equal(answer.json.output.echo, 'still here');
  await simmer.quiet('default/echo');
  t.equal(simmer.stderr, '');
});
