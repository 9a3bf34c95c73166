#!/usr/bin/env node
/** The command line: the same API as everybody's, with tables for people and `--json` for scripts. */
import { CommanderError } from 'commander';
import { EXIT, Failure } from './failure.ts';
import { json } from './output.ts';
import { program } from './program.ts';

// Whoever reads may have read enough: `simmer executions | head -1`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : EXIT.failed);
});

const { command, isJson } = program({
  environment: process.env,
  stdin: process.stdin,
  out: (text) => void process.stdout.write(text),
  interrupted() {
    const controller = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => controller.abort());
    }
    return controller.signal;
  },
});

try {
  await command.parseAsync(process.argv);
} catch (error) {
  if (error instanceof CommanderError) {
    // It has told already; help and version end well.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT.usage;
  } else if (error instanceof Failure) {
    process.stderr.write(isJson() ? json(error.json) : `simmer: ${error.message}\n`);
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(`simmer: ${(error as Error).stack ?? error}\n`);
    process.exitCode = EXIT.failed;
  }
}
