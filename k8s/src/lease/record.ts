/**
 * The Lease as several control planes read it, and what one of them may do about it. Pure.
 *
 * As in client-go, nobody compares clocks of two machines: a Lease has expired when this process has seen it unchanged for
 * its whole duration.
 */
import type { KubeObject } from '../api/api.ts';

/** A holder that has not renewed for this long is taken to be dead. client-go's default. */
export const LEASE_MS = 15_000;
/** A leader that could not renew for this long is not certain any more to be one. Below LEASE_MS by what a request may take. */
export const RENEW_DEADLINE_MS = 10_000;
/** Between two renewals, and between two tries to get it. */
export const RETRY_MS = 2_000;

/** Where pods find the holder. */
export const ADDRESS = 'simmer.dev/address';
/** Where its clients' port is, for the one that hands over to it: an http URL. */
export const CLIENT_ADDRESS = 'simmer.dev/client-address';
/** The holder that serves already: it may have only just got the Lease. */
export const SERVING = 'simmer.dev/serving';

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

export interface Holder {
  readonly identity: string;
  readonly address: string;
  readonly clientAddress: string;
  readonly serving: boolean;
}

/** Who holds it; undefined where nobody does. */
export function holderOf(lease: Lease | undefined): Holder | undefined {
  const identity = lease?.spec?.holderIdentity;
  if (!identity) return undefined;
  const annotations = lease?.metadata.annotations ?? {};
  return {
    identity,
    address: annotations[ADDRESS] ?? '',
    clientAddress: annotations[CLIENT_ADDRESS] ?? '',
    serving: annotations[SERVING] === identity,
  };
}

/** Whether `identity` may take it: it is free, its own, or seen unchanged for longer than it lasts. */
export function mayTake(lease: Lease | undefined, identity: string, unchangedMs: number): boolean {
  const holder = holderOf(lease);
  if (holder === undefined || holder.identity === identity) return true;
  const lasts = (lease?.spec?.leaseDurationSeconds ?? LEASE_MS / 1_000) * 1_000;
  return unchangedMs > lasts;
}

/** The Lease held by the claimant from now on (renewed, where it was so before). `at`: epoch milliseconds. */
export function held(lease: Lease | undefined, name: string, claim: Holder, at: number): Lease {
  const now = new Date(at).toISOString().replace('Z', '000Z');
  const mine = lease?.spec?.holderIdentity === claim.identity;
  const transitions = (lease?.spec?.leaseTransitions ?? 0) + (lease === undefined || mine ? 0 : 1);
  return {
    metadata: {
      name,
      ...(lease?.metadata.resourceVersion !== undefined && {
        resourceVersion: lease.metadata.resourceVersion,
      }),
      annotations: {
        ...lease?.metadata.annotations,
        [ADDRESS]: claim.address,
        [CLIENT_ADDRESS]: claim.clientAddress,
        [SERVING]: claim.serving ? claim.identity : '',
      },
    },
    spec: {
      holderIdentity: claim.identity,
      leaseDurationSeconds: LEASE_MS / 1_000,
      acquireTime: (mine ? lease?.spec?.acquireTime : undefined) ?? now,
      renewTime: now,
      leaseTransitions: transitions,
    },
  };
}

/** The Lease free for anyone. */
export function released(lease: Lease): Lease {
  const { name, resourceVersion, annotations } = lease.metadata;
  return {
    metadata: {
      ...(name !== undefined && { name }),
      ...(resourceVersion !== undefined && { resourceVersion }),
      annotations: { ...annotations, [ADDRESS]: '', [CLIENT_ADDRESS]: '', [SERVING]: '' },
    },
    spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 },
  };
}
