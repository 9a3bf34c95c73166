import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { type PodConnection, type PodProcess, Stage } from './fake-control-plane.ts';

const GUIDE = readFileSync(new URL('../../docs/writing-a-function.md', import.meta.url), 'utf8');

/** Name, in its first line, to source. */
const snippets = new Map(
  [...GUIDE.matchAll(/^```[jt]s\n\/\/ (\S+)\n([\s\S]*?)^```/gm)].map((m) => [m[1], m[2] as string]),
);

const text = (body: Uint8Array | null) => Buffer.from(body ?? []).toString();

const EXERCISES: Record<string, (t: Test, link: PodConnection, pod: PodProcess) => Promise<void>> =
  {
    'greet.mjs': async (t, link, pod) => {
      t.same(await link.output(link.call({ input: { name: 'Ada' } })), { greeting: 'Hello, Ada!' });
      t.match(await pod.entry('greeting'), { level: 'info', name: 'Ada', executionId: 'exec-1' });
      t.match(await link.result(link.call({})), { code: 'bad_input', message: /must be a string/ });
    },
    'thumbnail.mjs': async (t, link) => {
      const ask = (target: string) =>
        link.request('PUT', target, 'abc', [['content-type', 'image/png']]);
      t.equal(
        text((await link.result(ask('/a/b?width=7'))).body),
        'PUT /a/b: 3 bytes of image/png to 7',
      );
      t.match(await link.result(ask('/a/b?width=wide')), { code: 'bad_input' });
    },
    'api.mjs': async (t, link) => {
      const stream = link.request('POST', '/hello?name=Ada', 'and all');
      t.match(await link.expect('head'), { status: 200 });
      t.equal(text((await link.result(stream)).body), 'hello Ada and all');
      link.request('GET', '/elsewhere');
      t.match(await link.expect('head'), { status: 404 });
    },
    'countdown.mjs': async (t, link) => {
      const stream = link.request('GET', '/');
      let all = '';
      for (let end = false; !end; ) {
        const chunk = await link.expect('chunk');
        all += text(chunk.bytes);
        end = chunk.end;
      }
      t.equal(all, '3\n2\n1\nlift-off\n');
      t.match(await link.result(stream), { outcome: 'ok' });
    },
    'charge.mjs': async (t, link) => {
      const answers = [[410], [429, { 'retry-after': '2' }], [200]] as const;
      let asked = 0;
      const server = createServer((_request, response) => {
        const [status, headers] = answers[asked++] ?? [500];
        response.writeHead(status, headers).end('{"paid":true}');
      });
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
      t.teardown(() => server.close());
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const ask = () => link.call({ input: { url } });
      t.match(await link.result(ask()), { code: 'function_error', retryable: false });
      t.match(await link.result(ask()), { code: 'function_error', retryAfterMs: 2_000 });
      t.same(await link.output(ask()), { paid: true });
    },
    'search.mjs': async (t, link) => {
      t.same(await link.output(link.call({ input: { pages: 2 } })), { pages: 2, hadTime: true });
      const stream = link.call({ input: { pages: 1e6 } }, { budgetMs: 20 });
      t.match(await link.result(stream), { outcome: 'timeout' });
    },
    'total.mts': async (t, link) => {
      t.equal(await link.output(link.call({ input: { prices: [1, 2.5] } })), 3.5);
    },
  };

t.same([...snippets.keys()], Object.keys(EXERCISES), 'each snippet has its exercise');

for (const [file, exercise] of Object.entries(EXERCISES)) {
  t.test(file, async (t) => {
    const stage = await Stage.open(t);
    const { pod, link } = await stage.ready(snippets.get(file) ?? '', { file });
    await exercise(t, link, pod);
  });
}
