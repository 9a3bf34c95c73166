/**
 * Writes the pages that are made from code; `--check` only compares, and fails where one is out of date.
 * Runs on what is built: `make docs`, `make lint`.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments, stringify } from 'yaml';
import { renderConfigurationDoc } from '../control-plane/dist/config/document.js';
import { customResourceDefinitions } from '../k8s/dist/crds/definitions.js';
import { ERRORS } from '../protocol/dist/errors.js';
import { renderReferenceDoc } from './reference.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** The text of docs/errors.md. Each code has a heading of its own: a problem's `type` points at it. */
export function renderErrorsDoc() {
  const table = Object.entries(ERRORS).map(
    ([code, { status, title }]) => `| [\`${code}\`](#${code}) | ${status} | ${title} |`,
  );
  const sections = Object.entries(ERRORS).map(
    ([code, { status, title, help }]) => `## ${code}\n\n${status} · ${title}\n\n${help}`,
  );
  return `${[
    '# Errors',
    '<!-- Made from protocol/src/errors.ts by `make docs`; a test holds the two together. -->',
    [
      'An answer that is not a success is a problem document (RFC 9457, `application/problem+json`):',
      '',
      '```json',
      '{',
      '  "type": "/docs/errors#queue_full",',
      '  "title": "The function\'s queue is full",',
      '  "status": 429,',
      '  "code": "queue_full",',
      '  "detail": "1000 invocations wait for echo; its limit is 1000",',
      '  "executionId": "..."',
      '}',
      '```',
    ].join('\n'),
    [
      '`code` is stable: programs should decide by it, people read `detail`. `executionId` stands in every answer that belongs to',
      'an invocation (and in the header `X-Execution-Id`), `attempts` where the handler was started. An answer with 429 carries',
      '`Retry-After` in seconds.',
    ].join('\n'),
    ['| Code | Status | Title |', '| --- | --- | --- |', ...table].join('\n'),
    ...sections,
  ].join('\n\n')}\n`;
}

const MADE =
  '# Made from protocol/src/manifest.ts by `make docs`; `make lint` holds the two together.\n';

/** The CRDs, for kustomize and for the chart: Helm reads no file outside of its own folder. */
const CRDS = [...customResourceDefinitions()].flatMap(([name, definition]) => {
  const render = () =>
    MADE + stringify(definition, { lineWidth: 120, aliasDuplicateObjects: false });
  return [`k8s/manifests/crds/${name}`, `k8s/chart/crds/${name}`].map((path) => ({ path, render }));
});

/** The chart's rules of access are those of kustomize. */
const RULES = ['control-plane', 'tenant'].map((name) => ({
  path: `k8s/chart/rules/${name}.yaml`,
  render() {
    const file = `k8s/manifests/${name}/role.yaml`;
    const role = parseAllDocuments(readFileSync(join(ROOT, file), 'utf8'))
      .map((document) => document.toJS())
      .find(({ kind }) => kind === 'Role');
    return `# Made from ${file} by \`make docs\`.\n${stringify(role.rules)}`;
  },
}));

const PAGES = [
  { path: 'docs/errors.md', render: renderErrorsDoc },
  { path: 'docs/configuration.md', render: renderConfigurationDoc },
  { path: 'docs/reference.md', render: renderReferenceDoc },
  ...CRDS,
  ...RULES,
];

function main(checkOnly) {
  for (const { path, render } of PAGES) {
    const file = join(ROOT, path);
    const text = render();
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    if (checkOnly) {
      console.error(`${path} is out of date: run \`make docs\` and commit it`);
      process.exitCode = 1;
    } else {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
      console.log(`wrote ${path}`);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.includes('--check'));
