import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('each field', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(`export default (input, ctx) => {
    const { executionId, attempt, traceId, traceparent, metadata, remainingMs, signal, badInput } = ctx;
    return {
      executionId, attempt, traceId, traceparent, metadata, function: ctx.function,
      remaining: remainingMs(), untilDeadline: ctx.deadline - Date.now(),
      signal: signal instanceof AbortSignal && !signal.aborted && signal === ctx.signal,
      request: ctx.request ?? null,
      badInput: badInput('no').code,
      log: Object.keys(ctx.log),
    };
  };`);
  const stream = link.call(
    { metadata: { tenant: 'a' } },
    {
      executionId: 'boot-17',
      attempt: 3,
      budgetMs: 60_000,
      headers: [['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01']],
    },
  );
  const told = (await link.output(stream)) as Record<string, unknown>;
  t.match(told, {
    executionId: 'boot-17',
    attempt: 3,
    traceId: '0af7651916cd43dd8448eb211c80319c',
    traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    metadata: { tenant: 'a' },
    function: 'default/test',
    signal: true,
    request: null,
    badInput: 'bad_input',
    log: ['debug', 'info', 'warn', 'error'],
  });
  for (const ms of [told['remaining'], told['untilDeadline']] as number[]) {
    t.ok(ms > 0 && ms <= 60_001, `${ms} ms remain`);
  }
});
