/**
 * API keys and the file that holds them. A key is told once, as text; the file keeps a keyed hash of it (HMAC-SHA-256 under
 * the file's pepper), from which nobody gets it back. No I/O here: who reads and writes the file is another's matter.
 *
 *     smr_<id>_<secret>      id: 12 of a-z and 0-9; secret: 256 random bits, base64url
 *
 *     { "pepper": "<base64url>", "keys": [{ "id", "hash", "scopes", "functions"?, "description"?, "createdAt"?,
 *       "expiresAt"?, "disabled"?, "rateLimit"? }] }
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { SCOPES, type Scope } from './operations.ts';

/** What every key begins with: secret scanners find it, and a reader knows what it is. */
export const API_KEY_PREFIX = 'smr_';
/** A key anywhere in a text. */
export const API_KEY_TEXT = /smr_[a-z0-9]{1,40}_[A-Za-z0-9_-]{20,}/g;

const ID_LENGTH = 12;
const SECRET_BYTES = 32;
const MIN_PEPPER_BYTES = 16;
const MAX_PATTERNS = 256;
const MAX_TEXT_LENGTH = 200;
const MAX_BURST = 1_000_000;

const ID = /^[a-z0-9]{1,40}$/;
const HASH = /^[A-Za-z0-9_-]{43}$/;
const BASE64URL = /^[A-Za-z0-9_-]+$/;
/** Over `namespace/name`: it can match nothing unless it has a slash, or a star that stands for one. */
const PATTERN = /^(?=.*[*/])[-a-z0-9./*]{1,200}$/;

/** A token bucket: so many a second on average, `burst` at once. */
export interface RateLimit {
  readonly requestsPerSecond: number;
  readonly burst: number;
}

export interface ApiKeyEntry {
  readonly id: string;
  /** HMAC-SHA-256 of the key's whole text, base64url. */
  readonly hash: string;
  /** At least one. */
  readonly scopes: readonly Scope[];
  /** Patterns of `namespace/name`, in which `*` stands for any characters. */
  readonly functions: readonly string[];
  readonly description?: string;
  /** ISO 8601. */
  readonly createdAt?: string;
  readonly expiresAt?: string;
  readonly disabled?: boolean;
  readonly rateLimit?: RateLimit;
}

export interface ApiKeyFile {
  /** base64url, at least 128 bits. */
  readonly pepper: string;
  readonly keys: readonly ApiKeyEntry[];
}

export type ParsedApiKeys =
  | { readonly ok: true; readonly file: ApiKeyFile }
  /** `issue`: where it is wrong and how; never with a value of the file in it. */
  | { readonly ok: false; readonly issue: string };

/** What a new key may do; what it leaves out is as in the file. */
export type NewApiKey = Pick<ApiKeyEntry, 'scopes'> &
  Partial<Omit<ApiKeyEntry, 'id' | 'hash' | 'scopes'>>;

export function newApiKeyFile(): ApiKeyFile {
  return { pepper: randomBytes(SECRET_BYTES).toString('base64url'), keys: [] };
}

/** `key` is what the user gets, once; `file` has it added. @throws where `wanted` may not stand in a file */
export function addApiKey(
  file: ApiKeyFile,
  wanted: NewApiKey,
): { readonly file: ApiKeyFile; readonly key: string; readonly entry: ApiKeyEntry } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  const key = `${API_KEY_PREFIX}${newId()}_${secret}`;
  const added = fileWithApiKey(file, key, wanted);
  return { file: added, key, entry: added.keys.at(-1) as ApiKeyEntry };
}

/** Adds a key that there is already. @throws where it is none, or `wanted` may not stand in a file */
export function fileWithApiKey(file: ApiKeyFile, key: string, wanted: NewApiKey): ApiKeyFile {
  const id = idOfApiKey(key);
  if (id === undefined) throw new Error('what is to be added is no API key');
  const entry = { id, hash: hashOfApiKey(file.pepper, key), functions: ['*'], ...wanted };
  const parsed = parseApiKeyFile({ ...file, keys: [...file.keys, entry] });
  if (!parsed.ok) throw new Error(parsed.issue);
  return parsed.file;
}

/** Without the key; undefined where it has none of this id. */
export function revokeApiKey(file: ApiKeyFile, id: string): ApiKeyFile | undefined {
  const keys = file.keys.filter((key) => key.id !== id);
  return keys.length === file.keys.length ? undefined : { ...file, keys };
}

/** The id in a key's text; undefined where it is none. */
export function idOfApiKey(key: string): string | undefined {
  return /^smr_([a-z0-9]{1,40})_[A-Za-z0-9_-]{20,100}$/.exec(key)?.[1];
}

export function hashOfApiKey(pepper: string, key: string): string {
  return createHmac('sha256', Buffer.from(pepper, 'base64url')).update(key).digest('base64url');
}

/** In constant time. */
export function isApiKey(pepper: string, hash: string, key: string): boolean {
  const given = Buffer.from(hashOfApiKey(pepper, key));
  const known = Buffer.from(hash);
  return given.length === known.length && timingSafeEqual(given, known);
}

/** The file's text. JSON, which is YAML too. */
export function textOfApiKeyFile(file: ApiKeyFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** Checks what was parsed of a file's text (YAML or JSON). Never throws. */
export function parseApiKeyFile(value: unknown): ParsedApiKeys {
  try {
    return { ok: true, file: fileOf(value) };
  } catch (error) {
    return { ok: false, issue: (error as Error).message };
  }
}

function fileOf(value: unknown): ApiKeyFile {
  const file = objectOf(value, 'the file', ['pepper', 'keys']);
  const pepper = textOf(file['pepper'], 'pepper');
  const bytes = BASE64URL.test(pepper) ? Buffer.from(pepper, 'base64url').length : 0;
  check(
    bytes >= MIN_PEPPER_BYTES,
    `pepper must be base64url of at least ${MIN_PEPPER_BYTES} bytes`,
  );
  const list = file['keys'] ?? [];
  check(Array.isArray(list), 'keys must be a list');
  const seen = new Set<string>();
  const keys = (list as unknown[]).map((one, i) => {
    const entry = entryOf(one, `keys[${i}]`);
    check(!seen.has(entry.id), `keys[${i}].id: ${entry.id} stands there twice`);
    seen.add(entry.id);
    return entry;
  });
  return { pepper, keys };
}

const FIELDS = [
  ...['id', 'hash', 'scopes', 'functions', 'description', 'createdAt', 'expiresAt', 'disabled'],
  'rateLimit',
];

function entryOf(value: unknown, at: string): ApiKeyEntry {
  const entry = objectOf(value, at, FIELDS);
  const id = textOf(entry['id'], `${at}.id`);
  check(ID.test(id), `${at}.id must be 1 to 40 of a-z and 0-9`);
  const hash = textOf(entry['hash'], `${at}.hash`);
  check(HASH.test(hash), `${at}.hash must be 32 bytes as base64url`);
  const scopes = listOf(entry['scopes'], `${at}.scopes`, SCOPES.length);
  for (const scope of scopes) {
    check(SCOPES.includes(scope as Scope), `${at}.scopes must be of ${SCOPES.join(', ')}`);
  }
  const functions = listOf(entry['functions'] ?? ['*'], `${at}.functions`, MAX_PATTERNS);
  for (const pattern of functions) {
    check(PATTERN.test(pattern), `${at}.functions must be patterns of namespace/name`);
  }
  const { disabled, rateLimit } = entry;
  check(disabled === undefined || typeof disabled === 'boolean', `${at}.disabled: true or false`);
  return {
    ...{ id, hash, scopes: scopes as Scope[], functions },
    ...optional('description', entry, at, () => true),
    ...optional('createdAt', entry, at, isTime),
    ...optional('expiresAt', entry, at, isTime),
    ...(disabled === true && { disabled }),
    ...(rateLimit !== undefined && { rateLimit: rateLimitOf(rateLimit, `${at}.rateLimit`) }),
  };
}

function optional(
  name: 'description' | 'createdAt' | 'expiresAt',
  entry: Record<string, unknown>,
  at: string,
  isGood: (text: string) => boolean,
) {
  const given = entry[name];
  if (given === undefined || given === null) return {};
  const text = textOf(given, `${at}.${name}`);
  check(text.length <= MAX_TEXT_LENGTH && isGood(text), `${at}.${name} is not one`);
  return { [name]: text };
}

function isTime(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(Date.parse(text));
}

function rateLimitOf(value: unknown, at: string): RateLimit {
  const limit = objectOf(value, at, ['requestsPerSecond', 'burst']);
  const { requestsPerSecond, burst = Math.max(1, Math.ceil(requestsPerSecond as number)) } = limit;
  check(
    typeof requestsPerSecond === 'number' &&
      requestsPerSecond >= 0.001 &&
      requestsPerSecond <= MAX_BURST,
    `${at}.requestsPerSecond must be a number from 0.001 to ${MAX_BURST}`,
  );
  check(
    Number.isInteger(burst) && (burst as number) >= 1 && (burst as number) <= MAX_BURST,
    `${at}.burst must be a whole number from 1 to ${MAX_BURST}`,
  );
  return { requestsPerSecond: requestsPerSecond as number, burst: burst as number };
}

function objectOf(value: unknown, at: string, fields: readonly string[]): Record<string, unknown> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  check(isObject, `${at} must have fields: ${fields.join(', ')}`);
  for (const name of Object.keys(value as object)) {
    check(
      fields.includes(name),
      `${at} has a field that is not known; known are ${fields.join(', ')}`,
    );
  }
  return value as Record<string, unknown>;
}

function textOf(value: unknown, at: string): string {
  check(typeof value === 'string', `${at} must be text`);
  return value as string;
}

function listOf(value: unknown, at: string, max: number): string[] {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= max;
  check(isList, `${at} must be a list of 1 to ${max}`);
  return (value as unknown[]).map((one) => textOf(one, at));
}

function check(holds: boolean, issue: string): void {
  if (!holds) throw new Error(issue);
}

/** Without a bias: 36 does not divide 256, so the bytes past the last multiple are drawn again. */
function newId(): string {
  const DIGITS = 'abcdefghijklmnopqrstuvwxyz0123456789';
  let id = '';
  while (id.length < ID_LENGTH) {
    const [byte = 255] = randomBytes(1);
    if (byte < 252) id += DIGITS[byte % 36];
  }
  return id;
}
