import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { POD_TLS_NAME, RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { makeCertificates } from '../../../runtime/test/certificates.ts';
import { Plane, RuntimePod } from './plane.ts';
import { eventually, request } from './simmer.ts';

const LARGE = 'x'.repeat(3_000_000);

t.test('a pod that is given the CA serves, with bodies of any size', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'simmer-tls-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const { ca, cert, key } = await makeCertificates(POD_TLS_NAME);
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  const plane = await Plane.start(t, 'a', { certFile, keyFile });
  plane.define('fn');
  const pod = plane.expect('fn');
  plane.identify(pod, 'pool key');
  const address = `wss://127.0.0.1:${plane.podPort}`;
  const env = { [RUNTIME_ENV.ca]: ca, [RUNTIME_ENV.poolKey]: 'pool key' };
  RuntimePod.start(t, address, pod, env);
  await plane.serving('fn');
  const body = JSON.stringify({ input: { echo: LARGE } });
  const { status, json } = await request(plane.port, '/v1/functions/fn:invoke', { body });
  t.equal(status, 200);
  t.equal(json.output.echo === LARGE, true);

  const stranger = RuntimePod.start(t, `ws://127.0.0.1:${plane.podPort}`, plane.expect('fn'));
  await eventually('it gets nowhere', () => stranger.output.includes('no connection'));
});
