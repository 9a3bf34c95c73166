/**
 * Completion for shells. What a shell runs is a few lines that ask `simmer complete` with the words so far: commands and
 * options are known here, and names of functions by the server.
 */
import { Argument, Command } from 'commander';
import type { Context } from '../program.ts';
import { FUNCTIONS } from './functions.ts';

const SCRIPTS = {
  bash: `_simmer() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(simmer complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _simmer simmer
`,
  zsh: `#compdef simmer
_simmer() {
  local -a found
  found=("\${(@f)$(simmer complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if (( \${#found[1]} )); then compadd -a found; else _files; fi
}
compdef _simmer simmer
`,
} as const;
type Shell = keyof typeof SCRIPTS;

export function completionCommand(context: () => Context): Command {
  return new Command('completion')
    .description('print what a shell needs to complete commands: source <(simmer completion bash)')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .action((shell: Shell) => context().output.out(SCRIPTS[shell]));
}

/** Asked by the scripts: `words`, the last of which is to be completed. */
export function completeCommand(root: Command, context: () => Context): Command {
  return new Command('complete').argument('[words...]').action(async (words: string[]) => {
    const { server, output } = context();
    const last = words.at(-1) ?? '';
    let command = root;
    let arguments_ = 0;
    for (const word of words.slice(0, -1)) {
      const next = command.commands.find((one) => one.name() === word);
      if (next !== undefined) command = next;
      else if (!word.startsWith('-')) arguments_++;
    }
    const options = [...command.options, ...root.options].map(({ long }) => long ?? '');
    const names = visible(command);
    const wantsFunction = command.registeredArguments[arguments_]?.name() === 'function';
    const candidates = last.startsWith('-')
      ? options
      : wantsFunction
        ? await functionNames(server)
        : names;
    for (const one of candidates) if (one.startsWith(last)) output.out(`${one}\n`);
  });
}

function visible(command: Command): string[] {
  const help = command.createHelp();
  return help.visibleCommands(command).map((one) => one.name());
}

/** None where the server does not answer: a shell shows no error. */
async function functionNames(server: Context['server']): Promise<string[]> {
  try {
    const { functions } = (await server.call(FUNCTIONS)) as { functions: { urlName: string }[] };
    return functions.map(({ urlName }) => urlName);
  } catch {
    return [];
  }
}
