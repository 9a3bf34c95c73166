/** `simmer functions`: what can be called. */
import { Command } from 'commander';
import { parse } from 'yaml';
import { EXIT, Failure } from '../failure.ts';
import { json, table } from '../output.ts';
import type { Context } from '../program.ts';
import { read } from './invoke.ts';

interface FunctionView {
  readonly urlName: string;
  readonly spec: { readonly minReplicas: number; readonly maxReplicas: number };
  readonly status: {
    readonly pods: { readonly idle: number; readonly busy: number };
    readonly queued: number;
    readonly running: number;
    readonly accepted: number;
    readonly lastFailure?: { readonly message: string };
  };
}

export const FUNCTIONS = '/v1/functions';
const at = (name: string): string => `${FUNCTIONS}/${encodeURIComponent(name)}`;

export function functionCommands(context: () => Context): Command {
  const group = new Command('functions').description('what can be called');
  group
    .command('list', { isDefault: true })
    .description('all of them')
    .action(async () => {
      const { server, output } = context();
      const answer = (await server.call(FUNCTIONS)) as { functions: readonly FunctionView[] };
      if (output.json) {
        output.out(json(answer));
        return;
      }
      const rows = answer.functions.map(({ urlName, spec, status }) => [
        urlName,
        `${status.pods.idle + status.pods.busy}`,
        `${spec.minReplicas}-${spec.maxReplicas}`,
        status.running,
        status.queued,
        status.accepted,
        status.lastFailure?.message ?? '',
      ]);
      const columns = ['NAME', 'READY', 'REPLICAS', 'RUNNING', 'QUEUED', 'ACCEPTED', 'FAILURE'];
      output.out(table(columns, rows));
    });
  group
    .command('get')
    .description('one of them: its spec and how it does')
    .argument('<function>')
    .action(async (name: string) => {
      const { server, output } = context();
      output.out(json(await server.call(at(name))));
    });
  group
    .command('apply')
    .description('create or replace a function by its manifest')
    .argument('<file>', 'YAML or JSON, with one manifest')
    .action(async (file: string) => {
      const { server, output } = context();
      const body = read(file);
      const name = nameIn(file, body);
      const headers = {
        'content-type': file.endsWith('.json') ? 'application/json' : 'application/yaml',
      };
      const answer = await server.call(at(name), { method: 'PUT', headers, body });
      output.out(output.json ? json(answer) : `${name} serves\n`);
    });
  group
    .command('delete')
    .description('delete a function')
    .argument('<function>')
    .action(async (name: string) => {
      const { server, output } = context();
      await server.call(at(name), { method: 'DELETE' });
      output.out(output.json ? json({ deleted: name }) : `${name} deleted\n`);
    });
  return group;
}

/** As in URLs. The server judges the rest of the manifest. */
function nameIn(file: string, text: string): string {
  let metadata: { name?: unknown; namespace?: unknown } | undefined;
  try {
    ({ metadata } = (parse(text) ?? {}) as { metadata?: typeof metadata });
  } catch (error) {
    throw new Failure(EXIT.usage, `${file}: ${(error as Error).message}`);
  }
  const { name, namespace } = metadata ?? {};
  if (typeof name !== 'string') throw new Failure(EXIT.usage, `${file} has no metadata.name`);
  return namespace === undefined ? name : `${name}.${namespace}`;
}
