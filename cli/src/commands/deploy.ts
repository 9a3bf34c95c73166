/** `simmer deploy`: a folder's code onto the server. */
import { Command } from 'commander';
import { bundled, packed } from '../deploy/bundle.ts';
import { deploy } from '../deploy/deploy.ts';
import { projectIn } from '../deploy/project.ts';
import { json } from '../output.ts';
import type { Context } from '../program.ts';
import { wholeNumber } from './invoke.ts';

const WAIT_S = 30;

interface Options {
  readonly name?: string;
  readonly bundle: boolean;
  readonly wait: number;
  readonly external?: readonly string[];
}

export function deployCommand(context: () => Context): Command {
  return new Command('deploy')
    .description("bundles a folder's code, uploads it, and waits until it serves")
    .argument('[dir]', 'with a handler, and perhaps a simmer.yaml', '.')
    .option('--name <name>', "the function's; by default the manifest's, or the folder's")
    .option('--no-bundle', 'upload the files as they are, with node_modules')
    .option(
      '--external <package...>',
      'leave these out: the handler does without, or its image has them',
    )
    .option('--wait <seconds>', 'how long it may take to serve, at most 120', wholeNumber, WAIT_S)
    .action(async (dir: string, options: Options) => {
      const { server, output } = context();
      const project = projectIn(dir, options.name);
      const { folder, entry, name } = project;
      const bundle = options.bundle
        ? await bundled(folder, entry, options.external ?? [])
        : await packed(folder, entry);
      await deploy(server, project, bundle, options.wait);
      const { digest, bytes } = bundle;
      const url = server.urlOf(name);
      output.out(
        output.json
          ? json({ function: name, digest, bytes: bytes.length, url })
          : `${name} serves (${sizeOf(bytes.length)}): ${url}\n`,
      );
    });
}

export function sizeOf(bytes: number): string {
  const kib = bytes / 1_024;
  return kib < 1_024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1_024).toFixed(1)} MiB`;
}
