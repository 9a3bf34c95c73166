/** What a content type says about how a body is to be read. */
export type BodyType =
  | { readonly kind: 'json' }
  | { readonly kind: 'text'; readonly charset: string }
  | { readonly kind: 'bytes' };

const JSON_TYPE: BodyType = { kind: 'json' };
const BYTES_TYPE: BodyType = { kind: 'bytes' };

/** `application/json` and `+json`: json. `text/...`: text, UTF-8 where no charset is named. Else, or absent: bytes. */
export function contentType(header: string | undefined): BodyType {
  if (header === undefined) return BYTES_TYPE;
  const [essence = '', ...parameters] = header.toLowerCase().split(';');
  const type = essence.trim();
  if (type === 'application/json' || type.endsWith('+json')) return JSON_TYPE;
  if (!type.startsWith('text/')) return BYTES_TYPE;
  const named = parameters.map((p) => p.trim()).find((p) => p.startsWith('charset='));
  return { kind: 'text', charset: named?.slice('charset='.length).replaceAll('"', '') ?? 'utf-8' };
}
