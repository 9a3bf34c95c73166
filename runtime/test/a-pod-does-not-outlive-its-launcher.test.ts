import t from 'tap';
import { Stage } from './fake-control-plane.ts';

t.test('stdin closes: it ends at once, whatever runs', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready(
    "export default () => new Promise(() => { console.log('runs'); setInterval(() => {}, 1); });",
    { exitWithStdin: true },
  );
  link.call({});
  await pod.entry('runs');
  pod.child.stdin?.end();
  t.match(await pod.exited, { code: 0, signal: null });
});

t.test('also while it dials in vain', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.start("console.log('loaded'); export default () => 1;", {
    exitWithStdin: true,
  });
  const link = await stage.plane.ready();
  await pod.entry('loaded');
  await stage.plane.stop();
  await link.closed;
  pod.child.stdin?.end();
  t.match(await pod.exited, { code: 0, signal: null });
});

t.test('without the setting a closed stdin means nothing', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready('export default () => 1;');
  pod.child.stdin?.end();
  await new Promise((resolve) => pod.child.stdin?.once('close', resolve));
  t.equal(await link.output(link.call({})), 1);
});

t.test("a Ctrl-C that reaches the whole process group is the launcher's to handle", async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready('export default () => 1;', { exitWithStdin: true });
  pod.child.kill('SIGINT');
  t.equal(await link.output(link.call({})), 1);
});

t.test('without a launcher to wait for, SIGINT drains', async (t) => {
  const stage = await Stage.open(t);
  const { pod } = await stage.ready('export default () => 1;');
  pod.child.kill('SIGINT');
  t.match(await pod.exited, { code: 0, signal: null });
});
