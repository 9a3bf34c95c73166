/** `simmer dead-letters`: what was given up. */
import type { Problem } from '@simmer/protocol/errors';
import { Command } from 'commander';
import { EXIT, Failure } from '../failure.ts';
import { age, json, table } from '../output.ts';
import type { Context } from '../program.ts';
import { wholeNumber } from './invoke.ts';

interface Letter {
  readonly id: string;
  readonly function: string;
  readonly reason: string;
  readonly deadAt: string;
  readonly attempts: readonly unknown[];
  readonly error: Problem;
}

const PATH = '/v1/dead-letters';
const at = (id: string, verb = ''): string => `${PATH}/${encodeURIComponent(id)}${verb}`;

export function deadLetterCommands(context: () => Context): Command {
  const group = new Command('dead-letters').description(
    'what was given up, to look at or run again',
  );
  group
    .command('list', { isDefault: true })
    .description('the newest first')
    .option('--function <name>', 'only of this function')
    .option('--limit <n>', 'how many', wholeNumber)
    .option('--cursor <cursor>', 'where an earlier list ended')
    .action(async (options: Record<string, string | number | undefined>) => {
      const { server, output, now } = context();
      const query = { ...options, limit: options['limit']?.toString() } as Record<string, string>;
      const answer = (await server.call(PATH, { query })) as {
        deadLetters: readonly Letter[];
        next?: string;
      };
      if (output.json) {
        output.out(json(answer));
        return;
      }
      const rows = answer.deadLetters.map((one) => [
        one.id,
        one.function,
        one.reason,
        one.attempts.length,
        age(one.deadAt, now()),
        one.error.code,
        one.error.detail,
      ]);
      const columns = ['ID', 'FUNCTION', 'REASON', 'ATTEMPTS', 'AGE', 'ERROR', 'DETAIL'];
      output.out(table(columns, rows));
      if (answer.next !== undefined) output.out(`\nMore: --cursor ${answer.next}\n`);
    });
  group
    .command('get')
    .description('one of them, with its input and its attempts')
    .argument('<id>')
    .action(async (id: string) => {
      const { server, output } = context();
      output.out(json(await server.call(at(id))));
    });
  group
    .command('replay')
    .description('run one again, or all of a function')
    .argument('[id]')
    .option('--function <name>', 'all of this function')
    .action(async (id: string | undefined, options: { function?: string }) => {
      const { server, output } = context();
      const one = oneOrAll(id, options.function);
      const path = one === undefined ? `${PATH}:replay` : at(one, ':replay');
      const query = { function: options.function };
      const answer = (await server.call(path, { method: 'POST', query })) as {
        executionId?: string;
        replayed?: readonly string[];
        remaining?: number;
      };
      if (output.json) {
        output.out(json(answer));
        return;
      }
      for (const executionId of answer.replayed ?? [answer.executionId]) {
        output.out(`${executionId}\n`);
      }
      if (answer.remaining) output.out(`${answer.remaining} remain: the queue is full\n`);
    });
  group
    .command('delete')
    .description('forget one, or all of a function')
    .argument('[id]')
    .option('--function <name>', 'all of this function')
    .action(async (id: string | undefined, options: { function?: string }) => {
      const { server, output } = context();
      const one = oneOrAll(id, options.function);
      const path = one === undefined ? PATH : at(one);
      const query = { function: options.function };
      const answer = (await server.call(path, { method: 'DELETE', query })) as
        | { deleted: number }
        | undefined;
      const deleted = answer?.deleted ?? 1;
      output.out(output.json ? json({ deleted }) : `${deleted} deleted\n`);
    });
  return group;
}

function oneOrAll(id: string | undefined, name: string | undefined): string | undefined {
  if ((id === undefined) === (name === undefined)) {
    throw new Failure(EXIT.usage, 'name one by its id, or all of a function with --function');
  }
  return id;
}
