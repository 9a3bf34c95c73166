/**
 * Names to addresses, for callbacks: by /etc/hosts, then by DNS with the search domains of /etc/resolv.conf, in which a cluster's
 * short names live.
 *
 * Not by the system's resolver (`dns.lookup`): it blocks one of the process's four threads for as long as a name server is
 * silent, so that whoever has a domain whose server never answers would hold up everybody's callbacks. What is asked for here
 * waits for nothing else.
 */
import type { LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';

const HOSTS_FILE = '/etc/hosts';
const RESOLV_CONF = '/etc/resolv.conf';
/** How long what was read of them holds. */
const FRESH_MS = 5_000;
/** Of one question, and how often it is asked. */
const ANSWER_MS = 2_000;
const TRIES = 2;
/** resolv.conf(5) */
const DEFAULT_NDOTS = 1;

export interface NameSettings {
  /** Lower-case names. */
  readonly hosts: ReadonlyMap<string, readonly LookupAddress[]>;
  readonly search: readonly string[];
  /** A name with as many dots is tried as it stands before the search domains. */
  readonly ndots: number;
}

export type Questions = Pick<Resolver, 'resolve4' | 'resolve6'>;

/** hosts(5) and resolv.conf(5). */
export function nameSettings(hostsFile: string, resolvConf: string): NameSettings {
  const hosts = new Map<string, LookupAddress[]>();
  for (const [address = '', ...names] of linesOf(hostsFile)) {
    const family = isIP(address);
    if (family === 0) continue;
    for (const name of names.map((n) => n.toLowerCase())) {
      hosts.set(name, [...(hosts.get(name) ?? []), { address, family }]);
    }
  }
  let search: readonly string[] = [];
  let ndots = DEFAULT_NDOTS;
  for (const [keyword, ...values] of linesOf(resolvConf)) {
    if (keyword === 'search' || keyword === 'domain') search = values;
    if (keyword !== 'options') continue;
    const given = values.find((value) => /^ndots:\d{1,2}$/.test(value));
    if (given !== undefined) ndots = Number(given.slice('ndots:'.length));
  }
  return { hosts, search: search.map((domain) => domain.replace(/\.$/, '')), ndots };
}

function linesOf(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.replace(/[#;].*$/, '').split(/\s+/))
    .map((words) => words.filter(Boolean));
}

/** The names that this one may stand for, in order. */
export function candidates(name: string, { search, ndots }: NameSettings): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const searched = search.filter(Boolean).map((domain) => `${name}.${domain}`);
  return name.split('.').length > ndots ? [name, ...searched] : [...searched, name];
}

/** @throws {Error} that names it: there is none, or no server said */
export async function resolveName(
  name: string,
  settings: NameSettings,
  questions: Questions,
): Promise<readonly LookupAddress[]> {
  const known = settings.hosts.get(name.replace(/\.$/, '').toLowerCase());
  if (known !== undefined) return known;
  let failure: NodeJS.ErrnoException | undefined;
  for (const candidate of candidates(name, settings)) {
    const answers = await Promise.allSettled([
      questions.resolve4(candidate).then((all) => all.map((address) => ({ address, family: 4 }))),
      questions.resolve6(candidate).then((all) => all.map((address) => ({ address, family: 6 }))),
    ]);
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (found.length > 0) return found;
    for (const answer of answers) {
      if (answer.status === 'rejected' && !isAbsence(answer.reason)) failure ??= answer.reason;
    }
  }
  throw new Error(`the name ${name} is not resolved: ${failure?.code ?? 'ENOTFOUND'}`);
}

function isAbsence({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ENOTFOUND' || code === 'ENODATA';
}

/** By this system's files and name servers, which may change. */
export class SystemNames {
  private readonly now: () => number;
  private readAt = Number.NEGATIVE_INFINITY;
  private reading: Promise<void> = Promise.resolve();
  private texts = '';
  private settings: NameSettings = nameSettings('', '');
  private questions: Questions = newResolver();

  /** `now`: milliseconds. */
  constructor(now: () => number) {
    this.now = now;
  }

  async addressesOf(name: string): Promise<readonly LookupAddress[]> {
    if (this.now() >= this.readAt + FRESH_MS) {
      this.readAt = this.now();
      this.reading = this.read();
    }
    await this.reading;
    return resolveName(name, this.settings, this.questions);
  }

  private async read(): Promise<void> {
    const [hosts, conf] = await Promise.all([textOf(HOSTS_FILE), textOf(RESOLV_CONF)]);
    if (`${hosts}\0${conf}` === this.texts) return;
    this.texts = `${hosts}\0${conf}`;
    this.settings = nameSettings(hosts, conf);
    // It has the name servers of the time it was made.
    this.questions = newResolver();
  }
}

function newResolver(): Resolver {
  return new Resolver({ timeout: ANSWER_MS, tries: TRIES });
}

/** Systems without such a file have none of what it says. */
function textOf(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
