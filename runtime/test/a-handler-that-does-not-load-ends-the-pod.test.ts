import { createServer } from 'node:net';
import t from 'tap';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

const BROKEN: Record<string, { source: string; says: RegExp; file?: string }> = {
  'throws while it is loaded': {
    source: "throw new TypeError('no database');",
    says: /TypeError: no database/,
  },
  'rejects while it is loaded': {
    source: "await Promise.reject(new Error('no database'));",
    says: /Error: no database/,
  },
  'does not parse': { source: 'export default (', says: /SyntaxError/ },
  'imports what is not there': { source: "import 'nowhere';", says: /nowhere/ },
  'exports nothing': { source: 'export const handler = 1;', says: /exports no handler/ },
  'exports something else as default': { source: 'export default 5;', says: /exports no handler/ },
  'needs more than stripped types': {
    file: 'h.ts',
    source: 'enum A { B } export default () => A.B;',
    says: /enum/,
  },
  'lets an error escape while it is loaded': {
    source: "setImmediate(() => { throw new Error('escaped'); }); await new Promise(() => {});",
    says: /Error: escaped/,
  },
};

for (const [name, { source, says, file }] of Object.entries(BROKEN)) {
  t.test(`a module that ${name}`, async (t) => {
    const stage = await Stage.open(t);
    const pod = stage.start(source, { file: file ?? 'h.mjs' });
    const link = await stage.plane.accept();
    await link.welcome();
    const failed = await link.expect('failed');
    t.equal(failed.code, 'handler_not_loaded');
    t.match(failed.message, says);
    t.match(await pod.exited, { code: 1, signal: null });
    t.match(pod.stderr, /simmer-runtime: the handler .* does not load/);
    t.match(pod.stderr, says);
  });
}

t.test('a file that is not there', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.start('', { env: { SIMMER_HANDLER: '/nowhere/handler.mjs' } });
  const link = await stage.plane.accept();
  await link.welcome();
  t.match((await link.expect('failed')).message, /\/nowhere\/handler\.mjs/);
  t.match(await pod.exited, { code: 1 });
});

t.test('with nobody to tell, it exits all the same', async (t) => {
  const stage = await Stage.open(t);
  // A port that was free a moment ago.
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const pod = stage.start('nonsense(', { env: { SIMMER_ADDRESS: `ws://127.0.0.1:${port}` } });
  t.match(await pod.exited, { code: 1 });
  t.match(pod.stderr, /does not load/);
});

t.test('a control plane that comes within the time to tell is told', async (t) => {
  const stage = await Stage.open(t);
  const { port } = stage.plane;
  const first = await FakeControlPlane.start();
  const gone = first.port;
  await first.stop();
  const pod = stage.start('nonsense(', { env: { SIMMER_ADDRESS: `ws://127.0.0.1:${gone}` } });
  // It has said so on stderr, so it is waiting for somebody to tell.
  while (!pod.stderr.includes('does not load')) {
    await new Promise((resolve) => pod.child.stderr?.once('data', resolve));
  }
  const late = await FakeControlPlane.start(gone);
  t.teardown(() => late.stop());
  const link = await late.accept();
  await link.welcome();
  t.equal((await link.expect('failed')).code, 'handler_not_loaded');
  t.match(await pod.exited, { code: 1 });
  t.not(port, gone);
});

t.test('process.exit while loading keeps its code', async (t) => {
  const stage = await Stage.open(t);
  const pod = stage.start('process.exit(7)');
  t.match(await pod.exited, { code: 7 });
  t.match(pod.stderr, /the handler ended the process with exit code 7/);
});
