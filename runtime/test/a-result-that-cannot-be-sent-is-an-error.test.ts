import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('no JSON form', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`
    const cycle = {}; cycle.self = cycle;
    const results = [cycle, 1n, () => 1, Symbol('s'), { toJSON() { throw new Error('mine'); } }];
    export default (input) => results[input];`);
  for (let i = 0; i < 5; i++) {
    const result = await link.result(link.call({ input: i }));
    t.match(result, { outcome: 'error', code: 'result_not_serializable', body: null });
  }
  t.equal(await link.output(link.call({ input: 9 })), null, 'undefined is null');
});

t.test('over maxResultBytes', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export default (input) => 'x'.repeat(input);`, {
    welcome: { maxResultBytes: 100_000 },
  });
  t.match(await link.result(link.call({ input: 99_999 })), {
    outcome: 'too_large',
    code: 'result_too_large',
    body: null,
  });
  const stream = link.call({ input: 99_998 });
  t.match(await link.result(stream), { outcome: 'ok', body: null });
  const raw = link.request('POST', '/', '100001', [['content-type', 'application/json']]);
  t.match(await link.result(raw), { outcome: 'too_large', code: 'result_too_large' });
  t.notOk(
    link.frames.some((f) => f.kind === 'head'),
    'and no head before it',
  );
});
