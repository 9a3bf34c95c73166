import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import { type Certificates, makeCertificates } from '../../../runtime/test/certificates.ts';
import { ClientPort } from '../../src/scheduler/client-port.ts';
import { loadUws } from '../../src/scheduler/uws.ts';
import { KeyFile } from './keys.ts';
import { Plane } from './plane.ts';
import { eventually, request, Simmer } from './simmer.ts';

/** Test CAs have all the same name. What is shown is told by its fingerprint; a session that is resumed shows none. */
const UNCHECKED = { rejectUnauthorized: false, maxCachedSessions: 0 };

interface TlsAnswer {
  readonly status: number;
  readonly text: string;
  /** Of what the server showed. */
  readonly fingerprint: string;
}

function ask(port: number, path: string, agent: Agent, body = ''): Promise<TlsAnswer> {
  return new Promise((resolve, reject) => {
    const method = body === '' ? 'GET' : 'POST';
    const options = { host: '127.0.0.1', port, path, method, agent, servername: 'simmer.example' };
    const headers = { 'content-length': Buffer.byteLength(body) };
    const req = httpsRequest({ ...options, headers }, (res) => {
      const fingerprint = (res.socket as TLSSocket).getPeerCertificate().fingerprint256 ?? '';
      let text = '';
      res.setEncoding('utf8');
      res.on('data', (part) => {
        text += part;
      });
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text, fingerprint }));
    });
    req.on('error', reject);
    req.end(body);
  });
}

function writeTo(folder: { path: string }, { cert, key }: Certificates) {
  const files = { certFile: `${folder.path}.crt`, keyFile: `${folder.path}.key` };
  writeFileSync(files.certFile, cert);
  writeFileSync(files.keyFile, key);
  return files;
}

t.test('a new certificate is shown to new connections; those that are open go on', async (t) => {
  const [first, second] = [
    await makeCertificates('simmer.example'),
    await makeCertificates('simmer.example'),
  ];
  const folder = new KeyFile(t);
  const { certFile, keyFile } = writeTo(folder, first);
  const simmer = await Simmer.start(t, [{ name: 'fn' }], {
    flags: ['--tls-cert', certFile, '--tls-key', keyFile],
  });
  const kept = new Agent({ keepAlive: true, maxSockets: 1, ...UNCHECKED });
  const fresh = () => new Agent({ keepAlive: false, ...UNCHECKED });
  t.teardown(() => kept.destroy());
  const invoke = (agent: Agent, input: unknown) =>
    ask(simmer.port, '/v1/functions/fn:invoke', agent, JSON.stringify({ input }));
  const before = await invoke(kept, { echo: 'x'.repeat(100_000) });
  t.equal(before.status, 200);
  // One that runs across the change, on a connection of its own.
  const gate = simmer.gate();
  const running = invoke(fresh(), { hold: gate });

  writeFileSync(keyFile, second.key);
  const refused = await eventually('half of the change is refused', () =>
    simmer.logs().find((line) => line.message.startsWith('certificate refused')),
  );
  t.equal(refused['level'], 'error');
  t.equal((await ask(simmer.port, '/v1/functions', fresh())).fingerprint, before.fingerprint);

  writeFileSync(certFile, second.cert);
  const after = await eventually('the new one is shown', async () => {
    const answer = await ask(simmer.port, '/v1/functions', fresh());
    return answer.fingerprint !== before.fingerprint && answer;
  });
  t.equal(after.status, 200);
  simmer.open(gate);
  t.match(await running, { status: 200, fingerprint: before.fingerprint });
  const still = await invoke(kept, { echo: 'y' });
  t.equal(still.status, 200);
  t.equal(still.fingerprint, before.fingerprint);
  t.equal(await request(simmer.port, '/v1/functions').catch((e) => e.code), 'ECONNRESET');
});

t.test('however often it changes, no connection is lost', async (t) => {
  const all = await Promise.all([1, 2, 3].map(() => makeCertificates('simmer.example')));
  const files = all.map((one) => writeTo(new KeyFile(t), one));
  const uws = await loadUws(16_384);
  const port = new ClientPort(uws, (app) => {
    app.any('/*', (res) => void res.end('ok'));
  });
  const bound = await port.listen('127.0.0.1', 0, files[0] as (typeof files)[0]);
  t.teardown(() => uws.us_listen_socket_close(bound.socket));
  const agent = new Agent({ keepAlive: false, ...UNCHECKED });
  const seen = new Set<string>();
  let answered = 0;
  let changing = true;
  const load = Array.from({ length: 4 }, async () => {
    while (changing) {
      const { text, fingerprint } = await ask(bound.port, '/', agent);
      t.equal(text, 'ok');
      seen.add(fingerprint);
      answered++;
    }
  });
  for (let n = 1; n <= 30; n++) {
    const until = answered + 4;
    port.use(files[n % files.length] as (typeof files)[0]);
    await eventually('some are answered', () => answered >= until);
  }
  changing = false;
  await Promise.all(load);
  const shown = all.map(({ cert }) => new X509Certificate(cert).fingerprint256);
  t.ok(shown.every((one) => seen.has(one)));
  const wrong = { certFile: files[0]?.certFile ?? '', keyFile: files[1]?.keyFile ?? '' };
  t.throws(() => port.use(wrong));
  t.equal((await ask(bound.port, '/', agent)).text, 'ok');
});

t.test('a start with a certificate that is none says so', async (t) => {
  const folder = new KeyFile(t);
  const [first, second] = [await makeCertificates('a'), await makeCertificates('a')];
  const files = writeTo(folder, { ...first, key: second.key });
  const flags = ['--tls-cert', files.certFile, '--tls-key', files.keyFile];
  await t.rejects(Simmer.start(t, [], { flags }), /tls-cert: .*key values mismatch/);
});

t.test('an old control plane passes requests on to one that shows its certificate', async (t) => {
  const [own, foreign] = [await makeCertificates('simmer.example'), await makeCertificates('x')];
  const files = writeTo(new KeyFile(t), own);
  const next = await Plane.start(t, 'next', undefined, 20_000, files);
  const others = writeTo(new KeyFile(t), foreign);
  const stranger = await Plane.start(t, 'stranger', undefined, 20_000, others);
  const old = await Plane.start(t, 'old');
  const certificate = readFileSync(files.certFile, 'utf8');
  old.forwardTo(`https://127.0.0.1:${next.port}`, certificate);
  const passed = await request(old.port, '/v1/executions');
  t.match(passed.json, { executions: [] });
  old.forwardTo(`https://127.0.0.1:${stranger.port}`, certificate);
  t.match((await request(old.port, '/v1/executions')).json, { status: 503, code: 'draining' });
});
