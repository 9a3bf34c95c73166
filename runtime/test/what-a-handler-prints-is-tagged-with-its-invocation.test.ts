import type { Frame, Log } from '@simmer/protocol/frames';
import { LOG_LINE_BYTES } from '@simmer/protocol/limits';
import t from 'tap';
import { type PodConnection, Stage } from './fake-control-plane.ts';

t.test('every console method, and ctx.log, in one JSON line each', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`export default async (input, ctx) => {
    console.log('log %s', 1, { a: 1 });
    console.info('info');
    console.debug('debug');
    console.warn('warn');
    console.error(new Error('error'));
    console.dir({ deep: { er: 1 } });
    console.table([{ a: 1 }]);
    console.assert(false, 'asserted');
    console.trace('traced');
    console.log('two\\nlines');
    ctx.log.info('with fields', { user: 7, level: 'mine', big: 1n });
    ctx.log.error(new Error('logged'));
    await new Promise((resolve) => setTimeout(resolve, 1));
    console.log('after a timer');
  };`);
  const trace = '0af7651916cd43dd8448eb211c80319c';
  const stream = link.call(
    {},
    {
      executionId: 'exec-a',
      headers: [['traceparent', `00-${trace}-b7ad6b7169203331-01`]],
    },
  );
  await link.result(stream);
  const expected = [
    { level: 'info', message: 'log 1 { a: 1 }' },
    { level: 'info', message: 'info' },
    { level: 'debug', message: 'debug' },
    { level: 'warn', message: 'warn' },
    { level: 'error', message: /^Error: error\n {4}at / },
    { level: 'info', message: '{ deep: { er: 1 } }' },
    { level: 'info', message: /│ a/ },
    { level: 'warn', message: /asserted/ },
    { level: 'debug', message: 'traced', stack: /handler\.mjs/ },
    { level: 'info', message: 'two\nlines' },
    { level: 'info', message: 'with fields', user: 7, big: '1n' },
    { level: 'error', message: /^Error: logged\n {4}at / },
    { level: 'info', message: 'after a timer' },
  ];
  for (const entry of expected) {
    const line = JSON.parse(await pod.line(() => true));
    t.match(line, { ...entry, function: 'default/test', executionId: 'exec-a', traceId: trace });
    t.match(line.time, /^\d{4}-\d\d-\d\dT.*Z$/);
  }
});

t.test('invocations that run at once keep their own ids', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`
    export default async (input) => {
      for (let i = 0; i < 3; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        console.log(input);
      }
    };`);
  const streams = ['a', 'b', 'c'].map((input) =>
    link.call({ input }, { executionId: `exec-${input}` }),
  );
  for (const stream of streams) await link.result(stream);
  for (let i = 0; i < 9; i++) {
    const { message, executionId } = JSON.parse(await pod.line(() => true));
    t.equal(executionId, `exec-${message}`);
  }
});

t.test('outside any invocation there are no ids; raw writes pass untouched', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`
    console.log('loading');
    export default () => { process.stdout.write('as it is\\n'); };`);
  const entry = await pod.entry('loading');
  t.match(entry, { level: 'info', function: 'default/test' });
  t.notOk('executionId' in entry || 'traceId' in entry);
  await link.result(link.call({}));
  await pod.line((line) => line === 'as it is');
});

/** Its log frames, once it has printed these lines. */
async function printed(link: PodConnection, ...input: string[]): Promise<Log[]> {
  const stream = link.call({ input });
  await link.result(stream);
  const isOurs = (f: Frame): f is Log => f.kind === 'log' && f.stream === stream;
  return link.frames.filter(isOurs);
}

const PRINT = 'export default (input) => { for (const line of input) console.warn(line); };';

t.test('log frames, as many bytes of each attempt as are wanted', async (t) => {
  const stage = await Stage.open(t);
  const welcome = { logBytes: 3 * LOG_LINE_BYTES + 10 };
  const { link } = await stage.ready(PRINT, { welcome });
  const said = async (...lines: string[]) =>
    (await printed(link, ...lines)).map(({ text, cut = false }) => [text, cut]);
  t.match(await printed(link, 'a'), [{ level: 'warn', text: 'a' }]);
  t.same(await said('12345', '€', 'ab'), [
    ['12345', false],
    ['€', false],
    ['ab', false],
  ]);
  t.same(await said('12345', '€uro', 'x', 'y'), [
    ['12345', false],
    ['€uro', false],
    ['', true],
  ]);
  const long = 'x'.repeat(70);
  t.same(await said(`${long}€€`, 'x'), [[`${long}€`, true]], 'between two characters');
  t.same(await said('', '', '', ''), [
    ['', false],
    ['', false],
    ['', false],
    ['', true],
  ]);
});

t.test('a line that is longer than a text is cut, and others follow', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(PRINT, { welcome: { logBytes: 40_000 } });
  const [first, second] = await printed(link, 'x'.repeat(20_000), 'next');
  t.match(first, { text: 'x'.repeat(16_384), cut: true });
  t.match(second, { text: 'next' });
});

t.test('fields of ctx.log stand behind the message, and no stack does', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `export default (input, ctx) => { ctx.log.info('paid', { by: 'Ada', n: 2 }); throw new Error('no'); };`,
    { welcome: { logBytes: 1_000 } },
  );
  const [paid, thrown] = await printed(link);
  t.match(paid, { level: 'info', text: 'paid {"by":"Ada","n":2}' });
  t.equal(thrown?.text, 'Error: no');
});

t.test('none are sent unless they are wanted', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready("export default () => console.log('x');");
  await link.result(link.call({}));
  t.notOk(link.frames.some((f) => f.kind === 'log'));
});

t.test('a flood that nobody reads is dropped, counted, and does not stop the pod', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`
    const line = 'x'.repeat(10_000);
    export default (input) => { for (let i = 0; i < input; i++) console.log(line); return process.memoryUsage().rss; };`);
  pod.child.stdout?.pause();
  const rss = (await link.output(link.call({ input: 20_000 }))) as number;
  t.ok(rss < 400_000_000, `${rss} bytes resident after 200 MB were printed`);
  pod.child.stdout?.resume();
  // One more line once the backlog has been read brings the count with it.
  for (;;) {
    await link.output(link.call({ input: 1 }));
    const told = pod.lines.find((line) => line.includes('lines were dropped'));
    if (told !== undefined) break;
  }
});
