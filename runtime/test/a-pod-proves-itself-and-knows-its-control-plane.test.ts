import { createHmac } from 'node:crypto';
import { POD_TLS_NAME, RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { makeCertificates } from './certificates.ts';
import { FakeControlPlane, Stage } from './fake-control-plane.ts';

const HANDLER = 'export default () => 1;';

t.test('the proof is an HMAC over credential, uid and boot id', async (t) => {
  const stage = await Stage.open(t);
  const key = 'the key of the pool';
  const { link } = await stage.ready(
    `const seen = Object.keys(process.env).filter((name) => /TOKEN|POOL_KEY/.test(name));
     export default () => seen;`,
    { env: { [RUNTIME_ENV.poolKey]: key } },
  );
  t.same(await link.output(link.call({})), [], 'the handler sees neither token nor key');
  link.ws.terminate();
  const again = await stage.plane.accept();
  const { uid, bootId, proof, credential } = await again.expect('hello');
  const proofOf = (credential: string) =>
    createHmac('sha256', key)
      .update(`simmer.proof\0${credential}\0${uid}\0${bootId}`)
      .digest('base64url');
  t.equal(credential, 'session-1');
  t.equal(proof, proofOf('session-1'));
  t.not(proof, proofOf('token-1'));
});

t.test('without a key of the pool there is none', async (t) => {
  const stage = await Stage.open(t);
  stage.start(HANDLER);
  t.match(await (await stage.plane.accept()).expect('hello'), { proof: '', credential: 'token-1' });
});

t.test('TLS: the certificate bears the one name, and the CA is the one given', async (t) => {
  const right = await makeCertificates(POD_TLS_NAME);
  const stage = await Stage.open(t);
  const plane = await FakeControlPlane.startTls(right);
  t.teardown(() => plane.stop());
  stage.start(HANDLER, {
    env: { [RUNTIME_ENV.address]: plane.address, [RUNTIME_ENV.ca]: right.ca },
  });
  const link = await plane.ready();
  t.equal(await link.output(link.call({})), 1);
});

t.test('TLS: any other is not spoken to', async (t) => {
  const right = await makeCertificates(POD_TLS_NAME);
  const other = await makeCertificates('127.0.0.1');
  const STRANGERS = [
    ['a certificate of another CA', other.ca, right, /signature|unable to verify|self-signed/],
    ['another name under the right CA', other.ca, other, /does not match|altnames/],
    ['a CA that nobody gave', '', right, /unable to verify|self-signed|issuer/],
  ] as const;
  for (const [what, ca, certificates, says] of STRANGERS) {
    const stage = await Stage.open(t);
    const plane = await FakeControlPlane.startTls(certificates);
    t.teardown(() => plane.stop());
    const pod = stage.start(HANDLER, {
      env: { [RUNTIME_ENV.address]: plane.address, [RUNTIME_ENV.ca]: ca },
    });
    const line = await pod.line((text) => text.includes('no connection'));
    t.match(JSON.parse(line).message, says, what);
    t.equal(plane.connections.length, 0);
  }
});
