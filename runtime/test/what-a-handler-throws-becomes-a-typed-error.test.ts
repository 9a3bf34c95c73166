import t from 'tap';
import { Stage } from './fake-control-plane.ts';

const THROWN: Record<string, { code: string; expect: object }> = {
  'an Error': {
    code: "throw new RangeError('too far')",
    expect: { outcome: 'error', code: 'function_error', message: 'RangeError: too far' },
  },
  'a rejection': {
    code: "await null; throw new Error('later')",
    expect: { outcome: 'error', code: 'function_error', message: 'Error: later' },
  },
  'a string': {
    code: "throw 'just text'",
    expect: { outcome: 'error', code: 'function_error', message: 'thrown: just text' },
  },
  undefined: {
    code: 'throw undefined',
    expect: { outcome: 'error', code: 'function_error', message: 'thrown: undefined' },
  },
  'an object': {
    code: 'throw { a: 1 }',
    expect: { outcome: 'error', code: 'function_error', message: 'thrown: { a: 1 }' },
  },
  'an error whose message throws': {
    code: "throw Object.defineProperty(new Error(), 'message', { get() { throw 1; } })",
    expect: { outcome: 'error', code: 'function_error', message: /cannot be described/ },
  },
  'an object whose code throws': {
    code: 'throw { get code() { throw 1; } }',
    expect: { outcome: 'error', code: 'function_error' },
  },
  'a long message': {
    code: "throw new Error('x'.repeat(100_000))",
    expect: { outcome: 'error', code: 'function_error', message: /^Error: x{16377}$/ },
  },
  'ctx.badInput': {
    code: "throw ctx.badInput('a number, please')",
    expect: { outcome: 'bad_input', code: 'bad_input', message: 'a number, please' },
  },
  'any error with the code bad_input': {
    code: "throw Object.assign(new Error('no'), { code: 'bad_input' })",
    expect: { outcome: 'bad_input', code: 'bad_input', message: 'no' },
  },
  'an error with another code': {
    code: "throw Object.assign(new Error('no'), { code: 'ENOENT' })",
    expect: { outcome: 'error', code: 'function_error', message: 'Error: no' },
  },
};

t.test('and the pod goes on', async (t) => {
  const stage = await Stage.open(t);
  const cases = Object.values(THROWN).map(({ code }) => `async (ctx) => { ${code}; }`);
  const { link } = await stage.ready(
    `const cases = [${cases.join(',')}]; export default (input, ctx) => cases[input](ctx);`,
  );
  for (const [i, [name, { expect }]] of Object.entries(THROWN).entries()) {
    const result = await link.result(link.call({ input: i }));
    t.match(result, { ...expect, body: null }, name);
    t.notMatch(result.message, /\n\s+at /, 'no stack');
  }
});

const HINTS: Record<string, { code: string; expect: object }> = {
  'an error named NonRetryableError': {
    code: "throw Object.assign(new Error('no'), { name: 'NonRetryableError' })",
    expect: { message: 'NonRetryableError: no', retryable: false },
  },
  'of a class of that name': {
    code: "class NonRetryableError extends Error {} throw new NonRetryableError('no')",
    expect: { message: 'Error: no', retryable: false },
  },
  'one with retryable: false': {
    code: "throw Object.assign(new TypeError('no'), { retryable: false })",
    expect: { message: 'TypeError: no', retryable: false },
  },
  'one of another realm': {
    code: `throw (await import('node:vm')).runInNewContext(
      "Object.assign(new Error('there'), { name: 'NonRetryableError' })")`,
    expect: { message: 'NonRetryableError: there', retryable: false },
  },
  'no error at all': { code: 'throw { retryable: false }', expect: { retryable: false } },
  'a delay': {
    code: "throw Object.assign(new Error('busy'), { retryAfterMs: 12.5 })",
    expect: { message: 'Error: busy', retryable: true, retryAfterMs: 13 },
  },
  'no delay': {
    code: "throw Object.assign(new Error('busy'), { retryAfterMs: 0 })",
    expect: { retryable: true, retryAfterMs: 0 },
  },
  'an endless delay': {
    code: "throw Object.assign(new Error('busy'), { retryAfterMs: Infinity })",
    expect: { retryAfterMs: Number.MAX_SAFE_INTEGER },
  },
  'a never that wants a delay': {
    code: "throw Object.assign(new Error('no'), { retryable: false, retryAfterMs: 5 })",
    expect: { retryable: false, retryAfterMs: null },
  },
};

t.test('what it says of retries goes with it', async (t) => {
  const stage = await Stage.open(t);
  const silent = [
    "throw new Error('plain')",
    'throw Object.assign(new Error(), { retryable: true, retryAfterMs: -1 })',
    "throw Object.assign(new Error(), { retryAfterMs: '5' })",
    'throw Object.assign(new Error(), { retryAfterMs: NaN })',
    'throw { get retryable() { throw 1; } }',
    "throw 'NonRetryableError'",
    'throw null',
  ];
  const all = [...Object.values(HINTS).map(({ code }) => code), ...silent];
  const cases = all.map((code) => `async (ctx) => { ${code}; }`);
  const { link } = await stage.ready(
    `const cases = [${cases.join(',')}]; export default (input, ctx) => cases[input](ctx);`,
  );
  for (const [i, [name, { expect }]] of Object.entries(HINTS).entries()) {
    const result = await link.result(link.call({ input: i }));
    t.match(result, { outcome: 'error', code: 'function_error', ...expect }, name);
  }
  for (const [i, code] of silent.entries()) {
    const result = await link.result(link.call({ input: Object.keys(HINTS).length + i }));
    t.notOk('retryable' in result || 'retryAfterMs' in result, code);
  }
});

t.test('a synchronous throw counts as well', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready("export default () => { throw new Error('at once'); }");
  t.match(await link.result(link.call({})), { code: 'function_error', message: 'Error: at once' });
});

t.test('the stack stands in the log, tagged, and bad input is not logged', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`export default (input, ctx) => {
    throw input === 1 ? ctx.badInput('wrong') : new Error('broken', { cause: new Error('deeper') });
  }`);
  await link.result(link.call({ input: 1 }));
  await link.result(link.call({ input: 2 }, { executionId: 'exec-b' }));
  const entry = await pod.entry('Error: broken');
  t.match(entry, { level: 'error', executionId: 'exec-b' });
  t.match(entry['stack'], /handler\.mjs/);
  t.match(entry['stack'], /deeper/);
  t.notOk(pod.lines.some((line) => line.includes('wrong')));
});
