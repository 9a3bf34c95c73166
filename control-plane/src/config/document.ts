/** The table of options as text: what `--help` prints and what docs/configuration.md holds. */
import { COMMANDS, CONFIG_FILE_OPTION, environmentName, OPTIONS, type Option } from './options.ts';

const INDENT = 34;

function shown(option: Option): string {
  return (option.type.show as (value: unknown) => string)(option.default);
}

/** The text of `simmer --help`. */
export function renderHelp(): string {
  const rows: [string, string][] = [
    [`--${CONFIG_FILE_OPTION} FILE`, 'Configuration file (YAML); its keys are the names below.'],
    ...OPTIONS.map((o): [string, string] => [
      `--${o.name} ${o.type.placeholder}`.trimEnd(),
      `${o.description.replaceAll('`', '')} Default: ${shown(o)}.`,
    ]),
    ...COMMANDS.map((c): [string, string] => [`--${c.name}`, c.description]),
  ];
  return [
    'Usage: simmer [options]',
    '',
    'Each option can be given as a flag (--management-port 8081), in the environment',
    '(SIMMER_MANAGEMENT_PORT=8081) or in the configuration file (management-port: 8081); a flag wins',
    'over the environment, the environment over the file.',
    '',
    ...rows.map(([left, right]) => `  ${left.padEnd(INDENT)}${right}`),
    '',
  ].join('\n');
}

/** The text of docs/configuration.md. */
export function renderConfigurationDoc(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return `${[
    '# Configuration',
    '',
    '<!-- Made from control-plane/src/config/options.ts by `make docs`; a test holds the two together. -->',
    '',
    'Every option has one name in three spellings, here for `management-port`:',
    '',
    '| Where | Spelling |',
    '| --- | --- |',
    '| flag | `--management-port 8081` |',
    '| environment | `SIMMER_MANAGEMENT_PORT=8081` |',
    '| configuration file | `management-port: 8081` |',
    '',
    'A flag wins over the environment, the environment over the file, the file over the default. The file is YAML; `--config FILE`',
    "or `SIMMER_CONFIG=FILE` names it. With `make run`, flags go into `ARGS`: `make run ARGS='--port 9000'`.",
    '',
    'An unknown option, or a value that is not allowed, stops the start with a line that says which and what is allowed. A switch is',
    'turned on by its flag alone (`--allow-anonymous`) and off by `--no-allow-anonymous`; elsewhere it is `true` or `false`. A',
    'variable that is set but empty counts as not set.',
    '',
    'In Kubernetes, a Service named `simmer` puts `SIMMER_PORT=tcp://...` into the environment of every pod of its namespace, which',
    "is not a port: set `enableServiceLinks: false` on the control plane's pod.",
    '',
    '## Options',
    '',
    '| Name | Variable | Default | Allowed | Meaning |',
    '| --- | --- | --- | --- | --- |',
    ...OPTIONS.map((o) =>
      [
        '',
        ` \`${o.name}\` `,
        ` \`${environmentName(o.name)}\` `,
        ` \`${shown(o)}\` `,
        ` ${cell(o.type.allowed)} `,
        ` ${cell(o.description)} `,
        '',
      ].join('|'),
    ),
    '',
    `Further: \`--${CONFIG_FILE_OPTION} FILE\` (\`${environmentName(CONFIG_FILE_OPTION)}\`), ${COMMANDS.map((c) => `\`--${c.name}\``).join(', ')}.`,
    '',
    '## The folder of functions',
    '',
    'Every `.yaml`, `.yml` and `.json` file below the folder is read, each with one or more manifests; `node_modules`, names that begin with',
    'a dot, and JSON files without an `apiVersion` are left alone. A handler is named relative to its manifest and must lie within the',
    'folder. Changes apply while Simmer runs, without losing an invocation:',
    '',
    '- A changed handler file, or a changed setting that a running pod cannot take over, starts new pods; an old one leaves when a new one is',
    "  ready to take its place. Other settings apply at once. Only the handler's own file is looked at, not what it imports: bundle",
    '  it, or touch a setting of its `env`.',
    '- A manifest with an error is refused with a log line that has file, line, field and reason. What the same file said before stays in force.',
    '- A function that is no longer in any file is removed a moment later. A folder that cannot be read at all removes nothing.',
    '- Of two files that give the same function, the first by path has it; the other is refused.',
    '',
    '## An example',
    '',
    '```yaml',
    '# simmer.yaml: simmer --config simmer.yaml',
    'port: 9000',
    'functions: ./functions',
    'log-level: warn',
    'max-queued-bytes: 256MiB',
    '```',
  ].join('\n')}\n`;
}
