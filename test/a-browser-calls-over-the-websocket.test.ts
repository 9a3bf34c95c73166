/** The example's page and the client in a real browser, against the real server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import t, { type Test } from 'tap';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BROWSERS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

const executablePath = BROWSERS.find((path) => existsSync(path));
if (executablePath === undefined && process.env['CI'] !== 'true') {
  t.pass('left out: no Chromium is installed here', { skip: 'no Chromium' });
} else {
  t.ok(executablePath, 'Chromium is installed');
  t.test('in a browser', (t) => inBrowser(t, executablePath as string));
}

async function inBrowser(t: Test, path: string): Promise<void> {
  const flags = ['--functions', 'examples', '--port', '0', '--management-port', '0'];
  const server = spawn(
    process.execPath,
    ['control-plane/dist/main.js', ...flags, '--pod-port', '0'],
    {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  t.teardown(async () => {
    server.kill('SIGTERM');
    if (server.exitCode === null) await once(server, 'exit');
  });
  let port = 0;
  for await (const line of createInterface({ input: server.stdout })) {
    const fields = JSON.parse(line) as { message: string; port: number };
    if (fields.message !== 'serving') continue;
    ({ port } = fields);
    break;
  }
  server.stdout.resume();

  const browser = await chromium.launch({ executablePath: path, args: FLAGS });
  t.teardown(() => browser.close());
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  // The browser asks for an icon by itself.
  page.on('requestfailed', (request) => errors.push(request.url()));
  await page.goto(`http://127.0.0.1:${port}/fn/page`);
  const log = page.locator('#log');
  const says = (text: string) => log.filter({ hasText: text }).waitFor();

  await page.click('#call');
  await says('{"hello":"world"}');
  await page.click('#many');
  await says('64 results, one of 63');
  await page.fill('#name', 'no-such');
  await page.click('#call');
  await says('function_not_found: There is no function no-such.');
  await page.click('#stream');
  await says('data: {"count":2,"of":50}');
  await page.click('#stop');
  await says('cancelled');
  t.notMatch(await log.textContent(), /"count":50/);
  t.same(errors, []);

  for (const spelling of ['msgpack', 'json']) {
    const seen = await page.evaluate(
      async ([origin, spelling]) => {
        const source = '/fn/page/client.js';
        const { SimmerClient } = await import(source);
        const simmer = new SimmerClient(origin, { spelling, key: 'smr_any_key' });
        const size = spelling === 'json' ? 20_000 : 1_000_000;
        const body = new Uint8Array(size).fill(200);
        const headers = { 'content-type': 'application/octet-stream' };
        const call = simmer.request('echo', '/', { body, headers });
        const { status } = await call.head;
        const back: Uint8Array = await call.bytes();
        const { executionId } = await simmer.enqueue('echo', { later: 'ü' });
        const { output } = await simmer.executionEnd(executionId);
        const text: string = await simmer.invoke('echo', 'é'.repeat(size / 2));
        simmer.close();
        const same = back.length === size && back.every((byte) => byte === 200);
        return { status, same, output, length: text.length };
      },
      [`http://127.0.0.1:${port}`, spelling],
    );
    const size = spelling === 'json' ? 20_000 : 1_000_000;
    t.same(seen, { status: 200, same: true, output: { later: 'ü' }, length: size / 2 }, spelling);
  }
}
