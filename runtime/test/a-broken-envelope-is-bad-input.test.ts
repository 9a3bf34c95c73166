import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('what is not an envelope never reaches the handler', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    'let calls = 0; export default (input, ctx) => [++calls, input ?? null, ctx.metadata];',
  );
  const cases = [
    ['{"input":', 'invalid_json'],
    ['\u0000', 'invalid_json'],
    ['[1]', 'invalid_envelope'],
    ['"text"', 'invalid_envelope'],
    ['null', 'invalid_envelope'],
    ['7', 'invalid_envelope'],
    ['{"metadata":[]}', 'invalid_envelope'],
    ['{"metadata":"x"}', 'invalid_envelope'],
    ['{"metadata":null}', 'invalid_envelope'],
  ] as const;
  for (const [body, code] of cases) {
    const result = await link.result(link.invoke({ body: Buffer.from(body) }));
    t.match(result, { outcome: 'bad_input', code, body: null }, JSON.stringify(body));
    t.ok(result.message.length > 0);
  }
  t.same(await link.output(link.invoke()), [1, null, {}], 'an empty body is an empty envelope');
  t.same(await link.output(link.call({})), [2, null, {}]);
  t.same(await link.output(link.call({ input: null, more: 'ignored' })), [3, null, {}]);
  t.same(await link.output(link.call({ input: 'ä€😀', metadata: { a: [1] } })), [
    4,
    'ä€😀',
    { a: [1] },
  ]);
});
