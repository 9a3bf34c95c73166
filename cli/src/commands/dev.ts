/** `simmer dev`: the function of a folder, deployed again with every save, and what its calls print. */
import { Command } from 'commander';
import type { Context } from '../program.ts';
import { wholeNumber } from './invoke.ts';

const WAIT_S = 30;

interface Options {
  readonly name?: string;
  readonly wait: number;
  readonly external?: readonly string[];
}

export function devCommand(context: () => Context): Command {
  return new Command('dev')
    .description('deploys a folder with every save, and prints what calls print; Ctrl-C ends it')
    .argument('[dir]', 'with a handler, and perhaps a simmer.yaml', '.')
    .option('--name <name>', "the function's; by default the manifest's, or the folder's")
    .option('--external <package...>', 'leave these out, as deploy does')
    .option('--wait <seconds>', 'how long it may take to serve, at most 120', wholeNumber, WAIT_S)
    .action(async (folder: string, options: Options) => {
      const { name, wait: waitS, external = [] } = options;
      const { server, output, interrupted } = context();
      // With esbuild's types and what it loads; the other commands do not pay for it.
      const { develop } = await import('../deploy/develop.ts');
      const print = output.out;
      await develop({ server, folder, name, external, waitS, print, signal: interrupted() });
    });
}
