/** The JSON body of `:invoke` and `:enqueue`: `{input, metadata}`, both of which may be left out; `:enqueue` knows `callbackUrl`, too. */
import type { ErrorCode } from './errors.ts';

export interface EnvelopeFault {
  readonly code: Extract<ErrorCode, 'invalid_json' | 'invalid_envelope' | 'invalid_callback_url'>;
  readonly message: string;
}

/** What the platform itself reads of an envelope. */
export type EnvelopeReading =
  | { readonly fault: EnvelopeFault }
  | {
      readonly fault: undefined;
      /** undefined: the function's own, where it has one. null: none. Any text: whether it is a URL is for others to say. */
      readonly callbackUrl: string | null | undefined;
    };

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What is wrong with a parsed one; undefined for nothing. */
export function envelopeFault(value: unknown): EnvelopeFault | undefined {
  if (!isObject(value)) {
    const message = 'the body must be a JSON object {"input": ..., "metadata": {...}}';
    return { code: 'invalid_envelope', message };
  }
  const { metadata } = value;
  if (metadata === undefined || isObject(metadata)) return undefined;
  return { code: 'invalid_envelope', message: 'metadata must be an object' };
}

const utf8 = new TextDecoder();

/** Reads the bytes of one; none at all are an empty envelope. Takes about 4 ms a MiB. */
export function readEnvelope(body: Uint8Array): EnvelopeReading {
  if (body.length === 0) return { fault: undefined, callbackUrl: undefined };
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(body));
  } catch (error) {
    return { fault: { code: 'invalid_json', message: (error as Error).message } };
  }
  const fault = envelopeFault(value);
  if (fault !== undefined) return { fault };
  const { callbackUrl } = value as { callbackUrl?: unknown };
  if (callbackUrl === undefined || callbackUrl === null || typeof callbackUrl === 'string') {
    return { fault: undefined, callbackUrl };
  }
  return { fault: { code: 'invalid_callback_url', message: 'callbackUrl must be a string' } };
}
