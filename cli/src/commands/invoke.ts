/** `simmer invoke`: a call, synchronous or not. */
import { readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { Command, InvalidArgumentError } from 'commander';
import { EXIT, exitCodeOf, Failure } from '../failure.ts';
import { json } from '../output.ts';
import type { Context } from '../program.ts';
import { type Execution, waitForEnd } from './executions.ts';

interface InvokeOptions {
  readonly data?: string;
  readonly file?: string;
  readonly async?: boolean;
  readonly wait?: boolean;
  readonly timeout?: number;
  readonly maxRetries?: number;
  readonly idempotencyKey?: string;
  readonly callbackUrl?: string;
}

export function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function invokeCommand(context: () => Context): Command {
  return new Command('invoke')
    .description('call a function; its output is printed')
    .argument('<function>', 'its name, or name.namespace')
    .argument('[input]', '`-`: the input is what standard input holds')
    .option('-d, --data <json>', 'the input, as JSON')
    .option('-f, --file <path>', 'a file that holds the input')
    .option('--async', 'do not wait for the result: print the id of the execution')
    .option('--wait', 'with --async: wait for its end all the same, as long as it takes')
    .option(
      '-t, --timeout <ms>',
      'time for the call, or for each attempt with --async',
      wholeNumber,
    )
    .option('--max-retries <n>', 'attempts that may follow the first', wholeNumber)
    .option('--idempotency-key <key>', 'the same key and input never run twice')
    .option('--callback-url <url>', 'with --async: where the end is told')
    .action(async (name: string, dash: string | undefined, options: InvokeOptions) => {
      await invoke(context(), name, dash, options);
    });
}

async function invoke(
  { server, output, stdin }: Context,
  name: string,
  dash: string | undefined,
  options: InvokeOptions,
): Promise<void> {
  const input = await inputOf(stdin, dash, options);
  const { callbackUrl } = options;
  if (options.async !== true && (options.wait === true || callbackUrl !== undefined)) {
    throw new Failure(EXIT.usage, '--wait and --callback-url go with --async');
  }
  const more = callbackUrl === undefined ? '' : `,"callbackUrl":${JSON.stringify(callbackUrl)}`;
  const verb = options.async === true ? 'enqueue' : 'invoke';
  const answer = (await server.call(`/v1/functions/${encodeURIComponent(name)}:${verb}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-timeout-ms': options.timeout?.toString(),
      'x-max-retries': options.maxRetries?.toString(),
      'idempotency-key': options.idempotencyKey,
    },
    // The input as it was written: a number beyond JavaScript's own goes through untouched.
    body: `{${input === '' ? '' : `"input":${input}`}${input === '' ? more.slice(1) : more}}`,
  })) as { executionId: string; output?: unknown };
  if (options.async !== true) {
    output.out(json(output.json ? answer : answer.output));
    return;
  }
  if (options.wait !== true) {
    output.out(output.json ? json(answer) : `${answer.executionId}\n`);
    return;
  }
  const execution = await waitForEnd(server, answer.executionId);
  endedWell(execution);
  output.out(json(output.json ? execution : execution.output));
}

/** @throws Failure where it did not succeed. */
export function endedWell(execution: Execution): void {
  const { status, error } = execution;
  if (status === 'succeeded') return;
  const why = error === undefined ? status : `${error.code}: ${error.detail}`;
  const message = `execution ${execution.executionId} ${status}: ${why}`;
  throw new Failure(exitCodeOf(error?.status ?? 500), message, execution);
}

/** '' for none. */
async function inputOf(
  stdin: Context['stdin'],
  dash: string | undefined,
  { data, file }: InvokeOptions,
): Promise<string> {
  if (dash !== undefined && dash !== '-') {
    throw new Failure(EXIT.usage, `${dash}: give the input with --data, --file or -`);
  }
  const given = [data, file, dash].filter((one) => one !== undefined);
  if (given.length > 1) throw new Failure(EXIT.usage, 'give one of --data, --file and -');
  if (given.length === 0) return '';
  const text = data ?? (file === undefined ? (await buffer(stdin)).toString() : read(file));
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Failure(EXIT.usage, `the input is not JSON: ${(error as Error).message}`);
  }
  return text;
}

export function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Failure(code === 'ENOENT' ? EXIT.notFound : EXIT.failed, message);
  }
}
