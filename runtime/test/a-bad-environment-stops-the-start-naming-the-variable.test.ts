import t from 'tap';
import { Stage } from './fake-control-plane.ts';

const BAD = [
  ['SIMMER_ADDRESS', '', /SIMMER_ADDRESS is not set/],
  ['SIMMER_ADDRESS', 'http://127.0.0.1:1', /SIMMER_ADDRESS must be ws:.* not 'http:\/\/127/],
  ['SIMMER_ADDRESS', 'nonsense', /SIMMER_ADDRESS must be ws:/],
  ['SIMMER_FALLBACK_ADDRESS', 'nonsense', /SIMMER_FALLBACK_ADDRESS must be ws:/],
  ['SIMMER_POD_UID', '', /SIMMER_POD_UID is not set/],
  ['SIMMER_TOKEN', '', /SIMMER_TOKEN is not set/],
  ['SIMMER_TOKEN', 'x'.repeat(5_000), /SIMMER_TOKEN is longer than 4096/],
  ['SIMMER_FUNCTION', '', /SIMMER_FUNCTION is not set/],
  ['SIMMER_HANDLER', '', /SIMMER_HANDLER is not set/],
  ['SIMMER_CAPACITY', '0', /SIMMER_CAPACITY must be a whole number from 1 to 1000, not '0'/],
  ['SIMMER_CAPACITY', '2.5', /SIMMER_CAPACITY/],
  ['SIMMER_CAPACITY', '-1', /SIMMER_CAPACITY/],
  ['SIMMER_GRACE_MS', 'soon', /SIMMER_GRACE_MS must be a whole number from 0 to .*, not 'soon'/],
  ['SIMMER_EXIT_WITH_STDIN', 'yes', /SIMMER_EXIT_WITH_STDIN must be 1 or 0, not 'yes'/],
] as const;

for (const [name, value, says] of BAD) {
  t.test(`${name}=${value.slice(0, 20)}`, async (t) => {
    const stage = await Stage.open(t);
    const pod = stage.start('export default () => 1', { env: { [name]: value } });
    t.match(await pod.exited, { code: 2, signal: null });
    t.match(pod.stderr, says);
    t.equal(pod.stderr.trim().split('\n').length, 1, 'one line');
    t.equal(stage.plane.connections.length, 0);
  });
}

t.test('the handler does not see the token', async (t) => {
  const stage = await Stage.open(t);
  const { link } = await stage.ready(
    `
    const atLoad = process.env.SIMMER_TOKEN ?? null;
    export default () => [atLoad, process.env.SIMMER_TOKEN ?? null, process.env.GREETING];`,
    { env: { GREETING: 'hello' } },
  );
  t.same(await link.output(link.call({})), [null, null, 'hello']);
});
