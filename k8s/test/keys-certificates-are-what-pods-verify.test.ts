import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { POD_TLS_NAME } from '@simmer/protocol/runtime-environment';
import t from 'tap';
import { isUsableCa, makeCa, makeServerCertificate } from '../src/keys/certificates.ts';

const now = Date.now();
const DAY_MS = 86_400_000;

/** A handshake as a pod makes it: it dials an address and verifies one name. */
async function handshake(
  server: { cert: string; key: string },
  ca: string,
  servername: string = POD_TLS_NAME,
): Promise<true> {
  const listening = tls.createServer(server).listen(0, '127.0.0.1');
  listening.on('tlsClientError', () => {});
  await once(listening, 'listening');
  const { port } = listening.address() as AddressInfo;
  const socket = tls.connect({ host: '127.0.0.1', port, ca, servername });
  try {
    await once(socket, 'secureConnect');
    return socket.authorized as true;
  } finally {
    socket.destroy();
    listening.close();
  }
}

t.test('a pod verifies the server by the CA and the one name', async (t) => {
  const ca = await makeCa(now);
  const server = await makeServerCertificate(ca, POD_TLS_NAME, now);
  t.equal(await handshake(server, ca.cert), true);
  await t.rejects(handshake(server, ca.cert, 'another-name'), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  const stranger = await makeCa(now);
  await t.rejects(handshake(server, stranger.cert), 'not with another CA of the same name');
  t.ok(ca.cert.length < 1_000, 'it fits into an environment');
});

t.test('a server’s certificate signs no others, and ends with its CA', async (t) => {
  const ca = await makeCa(now);
  const server = new X509Certificate((await makeServerCertificate(ca, POD_TLS_NAME, now)).cert);
  const issuer = new X509Certificate(ca.cert);
  t.equal(server.ca, false);
  t.equal(issuer.ca, true);
  t.equal(server.validTo, issuer.validTo);
  t.ok(server.verify(issuer.publicKey));
  t.ok(Date.parse(server.validFrom) < now, 'clocks may differ');
});

t.test('a CA is used while it is whole and has time left', async (t) => {
  const ca = await makeCa(now);
  t.ok(isUsableCa(ca, now));
  t.notOk(isUsableCa(ca, now + 3_500 * DAY_MS));
  t.notOk(isUsableCa({ ...ca, key: (await makeCa(now)).key }, now), 'another one’s key');
  t.notOk(isUsableCa({ ...ca, cert: '' }, now));
  const server = await makeServerCertificate(ca, POD_TLS_NAME, now);
  t.notOk(isUsableCa(server, now), 'no CA');
});
