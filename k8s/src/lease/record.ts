/** The Lease as those who elect a leader read and write it. Pure. */
import type { KubeObject } from '../api/api.ts';

export interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  /** metav1.MicroTime */
  readonly acquireTime?: string;
  readonly renewTime?: string;
  readonly leaseTransitions?: number;
}

export interface LeaseObject extends KubeObject {
  spec?: LeaseSpec;
}

/** Where pods find the holder. */
export const ADDRESS = 'simmer.dev/address';
/** The holder's name, once it serves. */
export const SERVING = 'simmer.dev/serving';

/** Of a Lease that was given up; as client-go has it, whose clients then need not wait. */
const RELEASED_SECONDS = 1;

/** '' where nobody holds it. */
export function holderOf(lease: LeaseObject | undefined): string {
  return lease?.spec?.holderIdentity ?? '';
}

/** Another that holds it: who, where, and whether it serves. */
export interface Successor {
  readonly holder: string;
  readonly address: string;
  readonly serving: boolean;
}

export function successorTo(
  identity: string,
  lease: LeaseObject | undefined,
): Successor | undefined {
  const holder = holderOf(lease);
  if (holder === '' || holder === identity) return undefined;
  const annotations = lease?.metadata.annotations ?? {};
  return {
    holder,
    address: annotations[ADDRESS] ?? '',
    serving: annotations[SERVING] === holder,
  };
}

export interface Holding {
  readonly identity: string;
  readonly address: string;
  readonly durationMs: number;
  /** Epoch milliseconds. */
  readonly now: number;
}

/** Taken by `identity`, which does not serve yet. */
export function acquired(
  name: string,
  lease: LeaseObject | undefined,
  { identity, address, durationMs, now }: Holding,
): LeaseObject {
  const transitions = lease?.spec?.leaseTransitions ?? 0;
  const changes = lease !== undefined && holderOf(lease) !== identity;
  const { [SERVING]: _, ...annotations } = lease?.metadata.annotations ?? {};
  return {
    ...lease,
    metadata: { ...lease?.metadata, name, annotations: { ...annotations, [ADDRESS]: address } },
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(durationMs / 1_000),
      acquireTime: microTime(now),
      renewTime: microTime(now),
      leaseTransitions: transitions + (changes ? 1 : 0),
    },
  };
}

export function renewed(lease: LeaseObject, now: number): LeaseObject {
  return { ...lease, spec: { ...lease.spec, renewTime: microTime(now) } };
}

/** Its holder serves. */
export function served(lease: LeaseObject): LeaseObject {
  const annotations = { ...lease.metadata.annotations, [SERVING]: holderOf(lease) };
  return { ...lease, metadata: { ...lease.metadata, annotations } };
}

/** Given up: the next may take it at once. */
export function released(lease: LeaseObject, now: number): LeaseObject {
  return {
    ...lease,
    spec: {
      ...lease.spec,
      holderIdentity: '',
      leaseDurationSeconds: RELEASED_SECONDS,
      renewTime: microTime(now),
    },
  };
}

/** Whether `a` was written after `b`. The API server counts its writes in whole numbers. */
export function isNewer(a: LeaseObject, b: LeaseObject | undefined): boolean {
  if (b === undefined || a.metadata.uid !== b.metadata.uid) return true;
  return BigInt(a.metadata.resourceVersion ?? '0') > BigInt(b.metadata.resourceVersion ?? '0');
}

function microTime(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('Z', '000Z');
}
