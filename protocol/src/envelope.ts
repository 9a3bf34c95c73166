/** The JSON body of `:invoke` and `:enqueue`: `{input, metadata}`, both of which may be left out. */
import type { ErrorCode } from './errors.ts';

export interface EnvelopeFault {
  readonly code: Extract<ErrorCode, 'invalid_json' | 'invalid_envelope'>;
  readonly message: string;
}

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

/** What is wrong with the bytes of one; none at all are an empty envelope. Takes about 4 ms a MiB. */
export function envelopeFaultOf(body: Uint8Array): EnvelopeFault | undefined {
  if (body.length === 0) return undefined;
  try {
    return envelopeFault(JSON.parse(utf8.decode(body)));
  } catch (error) {
    return { code: 'invalid_json', message: (error as Error).message };
  }
}
