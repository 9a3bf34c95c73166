/**
 * The benchmarks on the cluster that $KUBECONFIG names: `make bench-k8s`. Simmer is installed from k8s/manifests, in
 * namespaces of its own that are removed at the end; its images must be on the nodes. Prints its tables on standard
 * output, what it is doing on standard error; exits 1 when a target is missed. Run by tsx: it shares what the end-to-end
 * tests install Simmer with.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Installation, install } from '../../../k8s/e2e/support/installation.ts';
import { kubectl } from '../../../k8s/e2e/support/kubectl.ts';
import { Api } from '../../../k8s/src/api/api.ts';
import { describeMachine, machineLine } from '../machine.ts';
import { misses, tables } from '../report/table.ts';
import type { Finding } from '../results.ts';
import type { ClusterScenario } from './context.ts';
import { controlPlane } from './control-plane.ts';
import { writeDocs } from './docs.ts';
import { generic } from './generic.ts';
import { growth } from './growth.ts';
import { closeConnections } from './http.ts';
import { burst, miss } from './miss.ts';
import { thousand } from './thousand.ts';
import { warm } from './warm.ts';
import { writes } from './writes.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const ROUNDS = 50;
const QUICK_ROUNDS = 5;
const SCENARIOS: readonly ClusterScenario[] = [
  warm,
  writes,
  controlPlane,
  thousand,
  growth,
  generic,
  burst,
  // The longest, by far.
  miss,
];

const USAGE = `node --import tsx benchmarks/src/cluster/main.ts [options]
  --only A,B       these scenarios: ${SCENARIOS.map((s) => s.name).join(', ')}
  --rounds N       rounds of the scenario miss (${ROUNDS})
  --quick          few and short rounds, which inform and judge nothing
  --beside TEXT    what else ran on the machine, for the report
  --write-docs     put the results into docs/benchmarks-kubernetes.md`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    beside: { type: 'string', default: 'nothing else' },
    'write-docs': { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help) console.log(USAGE);
else await bench();

async function bench(): Promise<void> {
  const only = values.only?.split(',');
  const unknown = only?.filter((name) => !SCENARIOS.some((s) => s.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`no such scenario: ${unknown.join(', ')}\n${USAGE}`);
  const { quick } = values;
  const rounds = Number(values.rounds ?? (quick ? QUICK_ROUNDS : ROUNDS));
  const started = performance.now();
  const log = (text: string) => {
    const s = ((performance.now() - started) / 1000).toFixed(0).padStart(4);
    process.stderr.write(`${s} s  ${text}\n`);
  };
  const machine = describeMachine(ROOT);
  const version = JSON.parse(await kubectl('version', '-o', 'json')).serverVersion.gitVersion;
  const caption = `${machineLine(machine)}; Kubernetes ${version}; beside it ran: ${values.beside}`;
  log(caption);
  const crds = join(ROOT, 'k8s/manifests/crds');
  await kubectl('apply', '--server-side', '--force-conflicts', '--kustomize', crds);

  const api = Api.load();
  const findings: Finding[] = [];
  const broken: string[] = [];
  const folder = join(ROOT, 'benchmarks/results');
  const stem = join(folder, `${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}-k8s`);
  mkdirSync(folder, { recursive: true });
  /** After each scenario: a run of half an hour that is cut short leaves what it has measured. */
  const save = (pending: readonly ClusterScenario[]) => {
    const lacking = [...broken, ...pending.map(({ name }) => `${name}: the run ended before it`)];
    const all = { machine, caption, findings, broken: lacking };
    writeFileSync(`${stem}.json`, `${JSON.stringify(all, null, 2)}\n`);
    if (values['write-docs']) writeDocs(ROOT, findings, lacking, caption);
  };
  const wanted = SCENARIOS.filter(({ name }) => only?.includes(name) ?? true);
  let shared: Promise<Installation> | undefined;
  const simmer = () => {
    shared ??= install();
    return shared;
  };
  try {
    for (const [i, scenario] of wanted.entries()) {
      log(scenario.name);
      try {
        findings.push(...(await scenario.run({ api, simmer, rounds, quick, log })));
      } catch (error) {
        // The others still tell something; that this one is missing makes the run fail.
        broken.push(`${scenario.name}: ${error instanceof Error ? error.message : String(error)}`);
        log(`failed: ${broken.at(-1)}`);
      }
      save(wanted.slice(i + 1));
    }
  } finally {
    await shared?.then(
      (installation) => installation.remove(),
      () => {},
    );
    api.close();
    closeConnections();
  }

  console.log(`${caption}\n\n${tables(findings)}\n`);
  for (const text of broken) console.log(`did not run: ${text}`);
  const missed = misses(findings);
  for (const text of missed) console.log(`missed: ${text}`);
  const fine = missed.length === 0 && broken.length === 0;
  console.log(`${fine ? 'every target is met' : 'targets are missed'}; ${stem}.json`);
  if (broken.length > 0 || (missed.length > 0 && !quick)) process.exitCode = 1;
}
