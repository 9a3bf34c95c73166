/**
 * Where callbacks may go. Whoever may enqueue chooses a URL, and this process calls it from inside the network: what only
 * this machine or its host's metadata service answers is out of reach, unless the operator allows it (`callback-allow`).
 * Private ranges are not: in a cluster that is where receivers are.
 *
 * A URL is judged twice: by what it says when it comes, and by the address that is dialled each time (control/callbacks/
 * sender.ts); only the second holds against names that resolve to another address later.
 */
import { BlockList, isIP, isIPv6 } from 'node:net';

export const MAX_CALLBACK_URL_LENGTH = 2_048;

const FORBIDDEN_IPV4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8], // unspecified: Linux takes it for loopback
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local, and the metadata service of most clouds
  ['100.100.100.200', 32], // metadata, Alibaba
  ['168.63.129.16', 32], // metadata, Azure
  ['192.0.0.192', 32], // metadata, Oracle
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, broadcast
];
const FORBIDDEN_IPV6: readonly (readonly [network: string, prefix: number])[] = [
  ['::', 128],
  ['::1', 128],
  ['fe80::', 10], // link-local
  ['fec0::', 10], // site-local
  ['fd00:ec2::254', 128], // metadata, AWS
  ['fd20:ce::254', 128], // metadata, Google
  ['ff00::', 8], // multicast
];

/** IPv6 addresses that stand for an IPv4 one: mapped, compatible, NAT64 (RFC 6052), 6to4 (RFC 3056). */
const EMBEDDINGS: readonly {
  readonly at: number;
  readonly embed: (hex: readonly [string, string]) => string;
}[] = [
  { at: 96, embed: ([high, low]) => `::ffff:${high}:${low}` },
  { at: 96, embed: ([high, low]) => `::${high}:${low}` },
  { at: 96, embed: ([high, low]) => `64:ff9b::${high}:${low}` },
  { at: 16, embed: ([high, low]) => `2002:${high}:${low}::` },
];

function hexOf(ipv4: string): readonly [string, string] {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

function forbiddenAddresses(): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of FORBIDDEN_IPV4) {
    list.addSubnet(network, prefix, 'ipv4');
    for (const { at, embed } of EMBEDDINGS) {
      list.addSubnet(embed(hexOf(network)), at + prefix, 'ipv6');
    }
  }
  for (const [network, prefix] of FORBIDDEN_IPV6) list.addSubnet(network, prefix, 'ipv6');
  return list;
}

export type CallbackUrl =
  | { readonly ok: true; readonly url: URL }
  | { readonly ok: false; readonly reason: string };

/** One entry of `callback-allow`: an address, a network in CIDR notation, or a host name. */
export interface AllowedTarget {
  readonly host: string;
  /** -1 for a host name. */
  readonly prefix: number;
}

const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*$/;

/** undefined: it is none. */
export function allowedTargetOf(text: string): AllowedTarget | undefined {
  const [host = '', digits, ...rest] = text.toLowerCase().split('/');
  if (rest.length > 0) return undefined;
  const family = isIP(host);
  if (family === 0) {
    const isName = digits === undefined && HOST_NAME.test(host) && !/^[0-9.]+$/.test(host);
    return isName ? { host, prefix: -1 } : undefined;
  }
  if (host.includes('%')) return undefined;
  const bits = family === 4 ? 32 : 128;
  if (digits === undefined) return { host, prefix: bits };
  const prefix = /^\d{1,3}$/.test(digits) ? Number(digits) : bits + 1;
  return prefix <= bits ? { host, prefix } : undefined;
}

export class CallbackTargets {
  private readonly forbidden = forbiddenAddresses();
  private readonly allowed = new BlockList();
  private readonly allowedHosts = new Set<string>();

  /** @param allow entries for which `allowedTargetOf` has a value */
  constructor(allow: readonly string[]) {
    for (const target of allow.map(allowedTargetOf)) {
      if (target === undefined) continue;
      const { host, prefix } = target;
      if (prefix === -1) this.allowedHosts.add(host);
      else this.allowed.addSubnet(host, prefix, isIPv6(host) ? 'ipv6' : 'ipv4');
    }
  }

  /** What a URL says by itself: its form, and its host where that is an address. */
  parse(text: string): CallbackUrl {
    if (text.length > MAX_CALLBACK_URL_LENGTH) {
      return { ok: false, reason: `is over ${MAX_CALLBACK_URL_LENGTH} characters` };
    }
    // The parser would strip, or read as a slash, what no one means.
    if (!/^https?:\/\/[^\s\\]+$/i.test(text) || !URL.canParse(text)) {
      return { ok: false, reason: 'is not an absolute http or https URL' };
    }
    const url = new URL(text);
    if (url.username !== '' || url.password !== '') {
      return { ok: false, reason: 'must not hold a user name or password' };
    }
    const host = hostOf(url);
    if (isIP(host) === 0 ? this.isForbiddenName(host) : !this.mayDial(host, host)) {
      return { ok: false, reason: `leads to ${host}, which is not allowed (callback-allow)` };
    }
    return { ok: true, url };
  }

  /** Whether a connection to this address, which the host resolved to, may be made. */
  mayDial(host: string, address: string): boolean {
    if (this.allowedHosts.has(host.replace(/\.$/, '').toLowerCase())) return true;
    const [plain = ''] = address.split('%');
    const family = isIP(plain);
    if (family === 0) return false;
    const kind = family === 4 ? 'ipv4' : 'ipv6';
    return this.allowed.check(plain, kind) || !this.forbidden.check(plain, kind);
  }

  /** Names that mean this machine whatever they resolve to (RFC 6761 6.3). */
  private isForbiddenName(host: string): boolean {
    const name = host.replace(/\.$/, '');
    if (name !== 'localhost' && !name.endsWith('.localhost')) return false;
    return !this.allowedHosts.has(name) && !this.mayDial(host, '127.0.0.1');
  }
}

/** Without the brackets of an IPv6 address. */
export function hostOf({ hostname }: URL): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}
