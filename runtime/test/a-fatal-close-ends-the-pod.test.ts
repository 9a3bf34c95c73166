import { CLOSE } from '@simmer/protocol/frames';
import t from 'tap';
import { Stage } from './fake-control-plane.ts';

for (const [name, { code, fatal, reason }] of Object.entries(CLOSE)) {
  if (!fatal) continue;
  t.test(`${code} ${name}`, async (t) => {
    const stage = await Stage.open(t);
    const pod = stage.start('export default () => 1;');
    const link = await stage.plane.accept();
    await link.expect('hello');
    link.ws.close(code, reason);
    t.match(await pod.exited, { code: 1, signal: null });
    t.ok(
      pod.stderr.includes(`simmer-runtime: the control plane refused this pod: ${code} ${reason}`),
    );
  });
}

t.test('later as well, with work on it', async (t) => {
  const stage = await Stage.open(t);
  const { pod, link } = await stage.ready('export default () => new Promise(() => {});');
  link.call({});
  link.ws.close(CLOSE.gone.code, CLOSE.gone.reason);
  t.match(await pod.exited, { code: 1 });
});
