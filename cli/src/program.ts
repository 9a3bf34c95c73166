/** The commands, put together. */
import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { Command } from 'commander';
import { completeCommand, completionCommand } from './commands/completion.ts';
import { deadLetterCommands } from './commands/dead-letters.ts';
import { deployCommand } from './commands/deploy.ts';
import { devCommand } from './commands/dev.ts';
import { executionCommands } from './commands/executions.ts';
import { functionCommands } from './commands/functions.ts';
import { invokeCommand } from './commands/invoke.ts';
import { keyCommands } from './commands/keys.ts';
import { poolCommands } from './commands/pools.ts';
import { EXIT, Failure } from './failure.ts';
import type { Output } from './output.ts';
import { Server } from './server.ts';

const DEFAULT_URL = 'http://localhost:8080';

export interface World {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  out(text: string): void;
  /** From here on Ctrl-C does not end the process, but this signal. */
  interrupted(): AbortSignal;
}

/** What a command gets when it runs: the options are known then. */
export interface Context {
  readonly server: Server;
  readonly output: Output;
  readonly stdin: Readable;
  /** Epoch milliseconds. */
  now(): number;
  /** World.interrupted */
  interrupted(): AbortSignal;
}

interface GlobalOptions {
  readonly url?: string;
  readonly key?: string;
  readonly json?: boolean;
}

export interface Program {
  readonly command: Command;
  isJson(): boolean;
}

export function program(world: World): Program {
  const { environment } = world;
  const command = new Command('simmer')
    .description('Calls functions, and looks at what becomes of the calls.')
    .version(version())
    .option('--url <url>', `the server's public port (SIMMER_URL; ${DEFAULT_URL})`)
    .option('--key <key>', 'an API key or JWT (SIMMER_API_KEY, which no process list shows)')
    .option('--json', 'print JSON, errors too')
    .configureHelp({ showGlobalOptions: true });
  const options = () => command.opts<GlobalOptions>();
  const context = (): Context => ({
    server: new Server({
      url: urlOf(options().url ?? environment['SIMMER_URL'] ?? ''),
      key: options().key ?? environment['SIMMER_API_KEY'] ?? '',
    }),
    output: { json: options().json === true, out: world.out },
    stdin: world.stdin,
    now: Date.now,
    interrupted: world.interrupted,
  });
  command.addCommand(invokeCommand(context));
  command.addCommand(deployCommand(context));
  command.addCommand(devCommand(context));
  command.addCommand(executionCommands(context));
  command.addCommand(deadLetterCommands(context));
  command.addCommand(functionCommands(context));
  command.addCommand(poolCommands(context));
  command.addCommand(keyCommands(context));
  command.addCommand(completionCommand(context));
  command.addCommand(completeCommand(command, context), { hidden: true });
  throwErrors(command);
  return { command, isJson: () => options().json === true };
}

/** Of every command: how it ends is main.ts's matter. */
function throwErrors(command: Command): void {
  command.exitOverride().showHelpAfterError('(--help tells more)');
  for (const one of command.commands) throwErrors(one);
}

function urlOf(given: string): string {
  const text = given === '' ? DEFAULT_URL : given;
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new Failure(EXIT.usage, `${JSON.stringify(text)} is no http or https URL`);
  }
  return text.replace(/\/+$/, '');
}

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
