/**
 * `simmer keys`: the file of API keys, which a server reads (`api-keys`). A key is shown once, when it is made; the file keeps
 * a hash of it. The server takes a changed file over by itself.
 */

import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, renameSync, statSync, writeFileSync } from 'node:fs';
import {
  type ApiKeyFile,
  addApiKey,
  newApiKeyFile,
  parseApiKeyFile,
  revokeApiKey,
  textOfApiKeyFile,
} from '@simmer/protocol/api-keys';
import { SCOPES, type Scope } from '@simmer/protocol/operations';
import { Command, InvalidArgumentError } from 'commander';
import { parse } from 'yaml';
import { EXIT, Failure } from '../failure.ts';
import { json, table } from '../output.ts';
import type { Context } from '../program.ts';
import { read, wholeNumber } from './invoke.ts';

interface CreateOptions {
  readonly file: string;
  readonly scope: readonly Scope[];
  readonly function: readonly string[];
  readonly description?: string;
  readonly expiresIn?: number;
  readonly rate?: number;
  readonly burst?: number;
}

/** Only its owner reads it. */
const MODE = 0o600;
const DAY_MS = 86_400_000;

const FILE = ['--file <path>', 'the file of keys'] as const;

function scopeOf(text: string, before: readonly Scope[]): Scope[] {
  const scope = SCOPES.find((one) => one === text);
  if (scope === undefined)
    throw new InvalidArgumentError(`It must be one of ${SCOPES.join(', ')}.`);
  return [...before, scope];
}

export function keyCommands(context: () => Context): Command {
  const group = new Command('keys').description('the API keys in a file that a server reads');
  group
    .command('create')
    .description('make a key; it is shown this once')
    .requiredOption(...FILE)
    .option('--scope <scope>', `${SCOPES.join(', ')}; again for more`, scopeOf, [])
    .option(
      '--function <pattern>',
      'only functions whose namespace/name it matches, * for any characters; again for more',
      (one: string, before: readonly string[]) => [...before, one],
      [],
    )
    .option('--description <text>', 'what it is for')
    .option('--expires-in <days>', 'when it ends', wholeNumber)
    .option('--rate <n>', 'requests a second', Number)
    .option('--burst <n>', 'requests at once, with --rate', wholeNumber)
    .action((options: CreateOptions) => create(context(), options));
  group
    .command('list', { isDefault: true })
    .description('what stands in the file; never a key')
    .requiredOption(...FILE)
    .action(({ file }: { file: string }) => {
      const { output } = context();
      const { keys } = load(file);
      // The hash is of no use to who looks.
      const shown = keys.map(({ hash, ...key }) => key);
      if (output.json) {
        output.out(json({ keys: shown }));
        return;
      }
      const rows = shown.map((key) => [
        key.id,
        key.scopes.join(','),
        key.functions.join(','),
        key.disabled ? 'disabled' : (key.expiresAt ?? ''),
        key.rateLimit ? `${key.rateLimit.requestsPerSecond}/s` : '',
        key.description ?? '',
      ]);
      output.out(table(['ID', 'SCOPES', 'FUNCTIONS', 'EXPIRES', 'RATE', 'DESCRIPTION'], rows));
    });
  group
    .command('revoke')
    .description('take a key out of the file')
    .requiredOption(...FILE)
    .argument('<id>')
    .action((id: string, { file }: { file: string }) => {
      const { output } = context();
      const less = revokeApiKey(load(file), id);
      if (less === undefined) throw new Failure(EXIT.notFound, `${file} has no key ${id}`);
      save(file, less);
      output.out(output.json ? json({ revoked: id }) : `${id} revoked\n`);
    });
  return group;
}

function create({ output, now }: Context, options: CreateOptions): void {
  const { file, scope, description, expiresIn, rate, burst } = options;
  if (scope.length === 0) throw new Failure(EXIT.usage, 'say with --scope what the key may do');
  const known = existsSync(file) ? load(file) : newApiKeyFile();
  const limit =
    rate === undefined ? undefined : { requestsPerSecond: rate, ...(burst && { burst }) };
  let made: ReturnType<typeof addApiKey>;
  try {
    made = addApiKey(known, {
      scopes: scope,
      ...(options.function.length > 0 && { functions: options.function }),
      ...(description !== undefined && { description }),
      createdAt: new Date(now()).toISOString(),
      ...(expiresIn !== undefined && {
        expiresAt: new Date(now() + expiresIn * DAY_MS).toISOString(),
      }),
      ...(limit && { rateLimit: limit as { requestsPerSecond: number; burst: number } }),
    });
  } catch (error) {
    throw new Failure(EXIT.usage, (error as Error).message);
  }
  save(file, made.file);
  const { key, entry } = made;
  output.out(output.json ? json({ id: entry.id, key }) : `${key}\n`);
}

function load(file: string): ApiKeyFile {
  let value: unknown;
  try {
    value = parse(read(file));
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(EXIT.usage, `${file}: ${(error as Error).message}`);
  }
  const parsed = parseApiKeyFile(value);
  if (!parsed.ok) throw new Failure(EXIT.usage, `${file}: ${parsed.issue}`);
  return parsed.file;
}

/** At once, or not at all: a server may read it meanwhile. */
function save(file: string, keys: ApiKeyFile): void {
  const next = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const mode = existsSync(file) ? statSync(file).mode & 0o777 : MODE;
    writeFileSync(next, textOfApiKeyFile(keys), { mode });
    chmodSync(next, mode);
    renameSync(next, file);
  } catch (error) {
    throw new Failure(EXIT.failed, (error as Error).message);
  }
}
