/**
 * Chaos: the real server under a load of well-behaved and ill-behaved clients, while its pods are killed and frozen and a
 * manifest changes. Everything that is done follows from the seed (plan.ts); what came of it is judged by what clients saw
 * and by a ledger that the handlers keep outside Simmer (checks.ts).
 *
 * `--seconds N` (600 by default), `--seed N` (else one is made up, and printed), `--keep` leaves the folder of the run.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MEMORY_RATIO } from './checks/what-is-left.ts';
import { check } from './checks.ts';
import { Clients } from './clients.ts';
import type { Evidence } from './evidence.ts';
import { Faults } from './faults.ts';
import { readLedger } from './ledger.ts';
import { DeadLetters } from './letters.ts';
import { planOf } from './plan.ts';
import { Receiver } from './receiver.ts';
import { introduction, passes, summary, verdict } from './report.ts';
import { Server } from './server.ts';

/** For who runs several kinds of checks: counts of them, and what failed (as scripts/test.mjs). */
const COUNTS = fileURLToPath(new URL('../../.tap/counts.json', import.meta.url));
const FAILURES = fileURLToPath(new URL('../../.tap/failures.txt', import.meta.url));
const DEFAULT_SECONDS = 600;
const POLL_MS = 100;
/** Each look makes a page of metrics, and more garbage than all the load: it is not to be the level that is measured. */
const BOOKS_POLL_MS = 1_000;
/** Of the dead letters at the end. */
const MAX_REPLAYS = 20;
/** After the load: the slowest attempt, its grace, and a frozen pod that must be found out. */
const QUIET_MS = 60_000;
/** For memory to come down. */
const SETTLE_MS = 30_000;
/** On SIGTERM; far beyond its own grace. */
const EXIT_MS = 60_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: String(DEFAULT_SECONDS) },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    keep: { type: 'boolean', default: false },
  },
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
if (!(Number.isInteger(seconds) && seconds >= 10 && Number.isInteger(seed))) {
  console.error('--seconds takes a whole number from 10, --seed a whole number');
  process.exit(2);
}

/** Waits until `look` gives true, at most this long. */
async function eventually(
  withinMs: number,
  look: () => boolean | Promise<boolean>,
  pollMs = POLL_MS,
): Promise<void> {
  const until = performance.now() + withinMs;
  while (!(await look()) && performance.now() < until) await delay(pollMs);
}

async function quiet(server: Server): Promise<void> {
  const isQuiet = async () => {
    const { accepted, ended, ...left } = await server.books();
    return Object.values(left).every((value) => value === 0);
  };
  await eventually(QUIET_MS, isQuiet, BOOKS_POLL_MS);
}

async function run(server: Server): Promise<Evidence> {
  const plan = planOf(seed, seconds);
  console.log(introduction(plan));
  receiver.know(await server.callbackKeys());
  const clients = new Clients(plan, server.port, receiver.origin);
  const letters = new DeadLetters(server.port);
  const faults = new Faults(plan, server);

  await clients.run(plan.warmUpMs);
  await quiet(server);
  await letters.collect();
  await letters.removeAll();
  const before = server.residentBytes();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, server.residentBytes());
  }, POLL_MS);
  await Promise.all([clients.run(plan.faultsMs), faults.run()]);
  clearInterval(watch);
  await quiet(server);
  const gone = letters.all.length;
  await letters.collect();
  const dead = letters.all.slice(gone).filter(({ reason }) => reason === 'execution');
  await clients.replay(dead.slice(0, MAX_REPLAYS).map(({ executionId }) => executionId));
  await quiet(server);
  await letters.collect();
  await letters.removeAll();
  // The level is taken as before: after the same load. What nothing needs any more stays until somebody allocates.
  await clients.run(plan.warmUpMs);
  await quiet(server);
  await letters.collect();
  await letters.removeAll();
  await eventually(SETTLE_MS, () => server.residentBytes() <= before * MEMORY_RATIO);
  const after = server.residentBytes();
  // Frozen pods that idle are found out by their heartbeat.
  let processes = { running: server.pods(), listed: await server.listedPods() };
  await eventually(QUIET_MS, async () => {
    processes = { running: server.pods(), listed: await server.listedPods() };
    return processes.running.every((pid) => processes.listed.includes(pid));
  });
  const books = await server.books();
  const claims = await server.claims();

  server.stop();
  const exit = await Promise.race([server.exited, delay(EXIT_MS, 'nothing', { ref: false })]);
  clients.close();
  const runs = readLedger(server.ledger);
  const pods = new Set([...runs.map(({ pid }) => pid), ...processes.running]);
  // What a handler prints or throws stands there too, with the pod and the execution that it came from.
  const lines = server.log.filter(
    ({ level, podId, executionId }) =>
      (level === 'error' || level === 'fatal') && !(podId && executionId),
  );
  const { stderr } = server;
  const givenUp = server.log
    .filter(({ message }) => String(message).startsWith('pod lost: '))
    .map(({ pid }) => Number(pid));
  return {
    ...{ offers: clients.offers, followed: clients.followed, unasked: clients.unasked },
    ...{ deliveries: receiver.deliveries, letters: letters.all },
    ...{
      runs,
      shots: faults.shots,
      givenUp,
      books,
      claims,
      memory: { before, after, peak },
      processes,
      exit,
    },
    survivors: [...pods].filter((pid) => server.isPod(pid)),
    errors: [...lines.map((line) => JSON.stringify(line)), ...(stderr === '' ? [] : [stderr])],
  };
}

const receiver = await Receiver.start();
const folder = mkdtempSync(join(tmpdir(), 'simmer-chaos-'));
const server = await Server.start(folder);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    server.kill();
    process.kill(process.pid, signal);
  });
}
try {
  const evidence = await run(server);
  const checks = check(evidence);
  const passed = checks.filter(passes).length;
  console.log(`\n${summary(evidence)}\n\n${verdict(checks)}\n`);
  console.log(`${passed} passed, ${checks.length - passed} failed (seed ${seed})`);
  if (values.keep) {
    writeFileSync(join(folder, 'evidence.json'), JSON.stringify(evidence));
    writeFileSync(
      join(folder, 'log.jsonl'),
      server.log.map((line) => `${JSON.stringify(line)}\n`).join(''),
    );
    console.log(`The ledger, the evidence and the log are in ${folder}`);
  }
  mkdirSync(join(COUNTS, '..'), { recursive: true });
  writeFileSync(COUNTS, JSON.stringify({ passed, failed: checks.length - passed }));
  const failed = checks.filter((check) => !passes(check));
  if (failed.length > 0) writeFileSync(FAILURES, `${verdict(failed)}\n`);
  else rmSync(FAILURES, { force: true });
  process.exitCode = passed === checks.length ? 0 : 1;
} catch (error) {
  console.error(`The run broke off (seed ${seed}):`, error);
  if (server.stderr !== '') console.error(`What the server wrote:\n${server.stderr}`);
  process.exitCode = 1;
} finally {
  receiver.stop();
  server.kill();
  await server.exited;
  if (!values.keep) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
