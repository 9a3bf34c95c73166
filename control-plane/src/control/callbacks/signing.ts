/**
 * Who signs: a key of each function, derived from one master secret, so that nothing is kept for it and who holds one
 * function's key learns nothing of another's.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

export const MIN_SECRET_BYTES = 32;
const CONTEXT = 'simmer.callback\0';

/** The key as users hold it: base64url, which is what signs, as it stands. */
export function callbackKey(master: Uint8Array, functionKey: string): string {
  return createHmac('sha256', master).update(`${CONTEXT}${functionKey}`).digest('base64url');
}

/** `X-Simmer-Signature` for a body sent at `timestamp` (Unix seconds). */
export function signatureOf(key: string, timestamp: number, body: Uint8Array): string {
  return `v1=${createHmac('sha256', key).update(`${timestamp}.`).update(body).digest('hex')}`;
}

/** @throws {Error} naming the option */
export function readCallbackSecret(path: string): Uint8Array {
  let secret: Buffer;
  try {
    secret = readFileSync(path);
  } catch (error) {
    throw new Error(`callback-secret: cannot read ${path}: ${(error as Error).message}`);
  }
  if (secret.length < MIN_SECRET_BYTES) {
    throw new Error(
      `callback-secret: ${path} holds ${secret.length} bytes; at least ${MIN_SECRET_BYTES} are needed`,
    );
  }
  return secret;
}

export function randomCallbackSecret(): Uint8Array {
  return randomBytes(MIN_SECRET_BYTES);
}
