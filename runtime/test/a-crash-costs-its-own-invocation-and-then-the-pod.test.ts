import t from 'tap';
import { Stage } from './fake-control-plane.ts';

const CRASHES = {
  'a throw in a timer': 'setTimeout(() => { throw new Error("escaped"); }, 1)',
  'a throw in an immediate': 'setImmediate(() => { throw new Error("escaped"); })',
  'a throw in a microtask': 'queueMicrotask(() => { throw new Error("escaped"); })',
  'a throw in a next tick': 'process.nextTick(() => { throw new Error("escaped"); })',
  'a rejection that nobody handles': 'Promise.reject(new Error("escaped"))',
  'a rejection later':
    '(async () => { await new Promise(setImmediate); throw new Error("escaped"); })()',
  'an error event that nobody hears': 'new EventEmitter().emit("error", new Error("escaped"))',
};

for (const [name, code] of Object.entries(CRASHES)) {
  t.test(name, async (t) => {
    const stage = await Stage.open(t);
    const { pod, link } = await stage.ready(`
      import { EventEmitter } from 'node:events';
      const waiting = [];
      export default (input) => {
        if (input === 'finish') { for (const go of waiting) go('fine'); return null; }
        console.log('runs ' + input);
        if (input === 'crash') setImmediate(() => { ${code}; });
        return new Promise((resolve) => waiting.push(resolve));
      };`);
    const others = [link.call({ input: 'a' }), link.call({ input: 'b' })];
    await pod.entry('runs b');
    const culprit = link.call({ input: 'crash' }, { executionId: 'exec-crash' });
    const result = await link.result(culprit);
    t.match(result, { outcome: 'error', code: 'function_exited', body: null });
    t.match(result.message, /Error: escaped/);
    await link.expect('draining');
    t.match(await pod.entry('uncaught: Error: escaped'), {
      level: 'error',
      executionId: 'exec-crash',
      stack: /handler\.mjs/,
    });
    t.notOk(
      link.frames.some((f) => f.kind === 'result'),
      'the others go on',
    );
    await link.result(link.call({ input: 'finish' }));
    for (const stream of others) t.equal(await link.output(stream), 'fine');
    t.match(await pod.exited, { code: 1, signal: null });
  });
}

t.test('the others get the grace and no more', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(
    `export default (input) => new Promise(() => {
      console.log('runs');
      if (input === 'crash') setImmediate(() => { throw new Error('escaped'); });
    });`,
    { graceMs: 20 },
  );
  link.call({});
  await pod.entry('runs');
  t.match(await link.result(link.call({ input: 'crash' })), { code: 'function_exited' });
  t.match(await pod.exited, { code: 1 });
});

t.test("a crash outside any invocation, with one running, is that one's", async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(`
    process.on('SIGUSR2', () => { throw new Error('out of nowhere'); });
    export default () => new Promise(() => console.log('runs'));`);
  const stream = link.call({});
  await pod.entry('runs');
  pod.child.kill('SIGUSR2');
  t.match(await link.result(stream), { code: 'function_exited', message: /out of nowhere/ });
  t.match(await pod.exited, { code: 1 });
});

for (const code of [0, 3]) {
  for (const [name, call] of [
    ['process.exit', `process.exit(${code})`],
    ['exit imported by name', `exit(${code})`],
    ['process.exit after a while', `setTimeout(() => process.exit(${code}), 1)`],
  ] as const) {
    t.test(`${name} with ${code}`, async (t) => {
      const stage = await Stage.open(t);
      const { pod, link } = await stage.ready(`
        import { exit } from 'node:process';
        export default (input) => {
          console.log('runs ' + input);
          if (input === 'exit') setImmediate(() => { ${call}; });
          return new Promise(() => {});
        };`);
      link.call({ input: 'other' });
      await pod.entry('runs other');
      const result = await link.result(link.call({ input: 'exit' }));
      t.match(result, { outcome: 'error', code: 'function_exited' });
      t.match(result.message, new RegExp(`exit code ${code}`));
      t.match(await pod.exited, { code, signal: null });
      t.match(pod.stderr, new RegExp(`ended the process with exit code ${code}`));
      await link.closed;
      t.notOk(
        link.frames.some((f) => f.kind === 'result'),
        'the other one is lost',
      );
    });
  }
}
