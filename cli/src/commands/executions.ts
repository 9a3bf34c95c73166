/** `simmer executions`: what has become of calls. */
import type { Problem } from '@simmer/protocol/errors';
import { Command } from 'commander';
import { age, duration, json, list, table } from '../output.ts';
import type { Context } from '../program.ts';
import type { Server } from '../server.ts';
import { endedWell, wholeNumber } from './invoke.ts';

export interface Attempt {
  readonly number: number;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly pod: string;
  readonly placement: string;
  readonly cold: boolean;
  readonly outcome?: string;
  readonly detail?: string;
}

export interface Execution {
  readonly executionId: string;
  readonly function: string;
  readonly status: string;
  readonly createdAt: string;
  readonly endedAt?: string;
  readonly nextAttemptAt?: string;
  readonly attempts: readonly Attempt[];
  readonly output?: unknown;
  readonly error?: Problem;
}

interface Logs {
  readonly lines: readonly { at: string; attempt: number; level: string; text: string }[];
  readonly truncated: boolean;
}

/** What one request waits, seconds: as long as the server lets it. */
const WAIT_S = 60;

const at = (id: string, rest = ''): string => `/v1/executions/${encodeURIComponent(id)}${rest}`;

/** Asks until it has ended. */
export async function waitForEnd(server: Server, id: string): Promise<Execution> {
  for (;;) {
    const query = { wait: String(WAIT_S) };
    const execution = (await server.call(at(id), { query })) as Execution;
    if (execution.endedAt !== undefined) return execution;
  }
}

export function executionCommands(context: () => Context): Command {
  const group = new Command('executions').description('what has become of calls');
  group
    .command('list', { isDefault: true })
    .description('the newest first')
    .option('--function <name>', 'only of this function')
    .option('--status <status>', 'only those with it')
    .option('--mode <mode>', 'only those that were called so: sync or async')
    .option('--limit <n>', 'how many', wholeNumber)
    .option('--cursor <cursor>', 'where an earlier list ended')
    .action(async (options: Record<string, string | number | undefined>) => {
      const { server, output, now } = context();
      const query = { ...options, limit: options['limit']?.toString() } as Record<string, string>;
      const answer = (await server.call('/v1/executions', { query })) as {
        executions: readonly Execution[];
        next?: string;
      };
      if (output.json) {
        output.out(json(answer));
        return;
      }
      const rows = answer.executions.map((one) => [
        one.executionId,
        one.function,
        one.status,
        one.attempts.length,
        age(one.createdAt, now()),
        one.endedAt === undefined ? '' : duration(one.createdAt, one.endedAt),
        one.error?.code ?? '',
      ]);
      output.out(table(['ID', 'FUNCTION', 'STATUS', 'ATTEMPTS', 'AGE', 'TOOK', 'ERROR'], rows));
      if (answer.next !== undefined) output.out(`\nMore: --cursor ${answer.next}\n`);
    });
  group
    .command('get')
    .description('one of them, with its attempts and its output')
    .argument('<id>')
    .option('--wait', 'wait for its end; not to succeed is a failure then')
    .action(async (id: string, options: { wait?: boolean }) => {
      const { server, output } = context();
      const wait = options.wait === true;
      const execution = wait
        ? await waitForEnd(server, id)
        : ((await server.call(at(id))) as Execution);
      output.out(output.json ? json(execution) : shown(execution));
      if (wait) endedWell(execution);
    });
  group
    .command('cancel')
    .description('end it, wherever it is')
    .argument('<id>')
    .action(async (id: string) => {
      const { server, output } = context();
      const execution = (await server.call(at(id), { method: 'DELETE' })) as Execution;
      output.out(output.json ? json(execution) : `${id} ${execution.status}\n`);
    });
  group
    .command('logs')
    .description('what its handler printed')
    .argument('<id>')
    .action(async (id: string) => {
      const { server, output } = context();
      const logs = (await server.call(at(id, '/logs'))) as Logs;
      if (output.json) {
        output.out(json(logs));
        return;
      }
      const rows = logs.lines.map((line) => [line.at, line.attempt, line.level, line.text]);
      output.out(table(['AT', 'ATTEMPT', 'LEVEL', 'TEXT'], rows));
      if (logs.truncated) output.out('\nThere was more than is kept.\n');
    });
  return group;
}

function shown(execution: Execution): string {
  const { executionId: id, attempts, output, error, function: name, ...rest } = execution;
  const { status, createdAt, endedAt, nextAttemptAt } = rest;
  const head = list({
    id,
    function: name,
    status,
    created: createdAt,
    'next attempt': nextAttemptAt,
    ended: endedAt,
    error: error === undefined ? undefined : `${error.code}: ${error.detail}`,
  });
  const rows = attempts.map((one) => [
    one.number,
    one.startedAt,
    one.endedAt === undefined ? '' : duration(one.startedAt, one.endedAt),
    one.pod,
    one.placement,
    one.cold ? 'cold' : 'warm',
    one.outcome ?? 'running',
    one.detail ?? '',
  ]);
  const columns = ['ATTEMPT', 'STARTED', 'TOOK', 'POD', 'PLACEMENT', 'START', 'OUTCOME', 'DETAIL'];
  const table_ = rows.length === 0 ? '' : `\n${table(columns, rows)}`;
  return `${head}${table_}${output === undefined ? '' : `\n${json(output)}`}`;
}
