/** The certificate of the clients' port: tells of each new version that is one, and belongs to its key. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Log } from '../log.ts';
import { WatchedFiles } from './watched-files.ts';

export interface CertificateFilesOptions {
  /** Absolute paths of PEM files: the chain, the leaf first, and its key. */
  readonly cert: string;
  readonly key: string;
  readonly log: Log;
}

/** `changed` is called for those after the first. */
export function certificateFiles(
  { cert, key, log }: CertificateFilesOptions,
  changed: () => void,
): WatchedFiles<X509Certificate> {
  return new WatchedFiles({
    list: async () => [cert, key],
    async read() {
      const [certPem, keyPem] = await Promise.all([readFile(cert), readFile(key)]);
      createSecureContext({ cert: certPem, key: keyPem });
      return new X509Certificate(certPem);
    },
    apply({ serialNumber, validTo }, isFirst) {
      log.info({ cert, serialNumber, validTo }, isFirst ? 'certificate' : 'certificate changed');
      if (!isFirst) changed();
    },
    refused: (reason) =>
      log.error({ cert, key, reason }, 'certificate refused: the one before goes on'),
  });
}
