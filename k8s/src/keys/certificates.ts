/**
 * The pod port's certificates: a CA of our own and, signed by it, what the server shows. ECDSA on P-256: a handshake costs
 * a fraction of RSA's, and the CA fits into a pod's environment in some 600 bytes.
 */
import { createPrivateKey, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** Longer than a cluster usually lives: pods hold the CA in their environment, so that a new one replaces them all. */
const CA_DAYS = 3_650;
/** With less than this left a new CA is made, at a start. */
const CA_LEFT_DAYS = 180;
/** Clocks of nodes differ. */
const SKEW_MS = 3_600_000;
const DAY_MS = 86_400_000;
const SERIAL_BYTES = 16;

export interface KeyPair {
  /** PEM */
  readonly cert: string;
  /** PEM, PKCS #8 */
  readonly key: string;
}

/** @param now epoch milliseconds */
export async function makeCa(now: number): Promise<KeyPair> {
  const x509 = await library();
  const keys = await generate();
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=simmer-pods-ca',
    notBefore: new Date(now - SKEW_MS),
    notAfter: new Date(now + CA_DAYS * DAY_MS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(cert.toString('pem')), key: exported(keys.privateKey) };
}

/** A server's certificate for one DNS name, valid as long as its CA: a control plane may run for as long. */
export async function makeServerCertificate(
  ca: KeyPair,
  dnsName: string,
  now: number,
): Promise<KeyPair> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(ca.cert);
  const keys = await generate();
  const pkcs8 = createPrivateKey(ca.key).export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']);
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${dnsName}`,
    issuer: issuer.subject,
    notBefore: new Date(now - SKEW_MS),
    notAfter: issuer.notAfter,
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: dnsName }]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: pem(cert.toString('pem')), key: exported(keys.privateKey) };
}

/** Whether a CA that was read is one, belongs to its key and has time left. */
export function isUsableCa(ca: KeyPair, now: number): boolean {
  try {
    const cert = new X509Certificate(ca.cert);
    const left = Date.parse(cert.validTo) - now;
    return (
      cert.ca && cert.checkPrivateKey(createPrivateKey(ca.key)) && left > CA_LEFT_DAYS * DAY_MS
    );
  } catch {
    return false;
  }
}

/** Only where certificates are made: importing it takes about 120 ms, and it needs its polyfill first. */
async function library() {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

function generate(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

function exported(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** Positive, as RFC 5280 asks. */
function serial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function pem(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`;
}
