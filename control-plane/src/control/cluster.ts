/**
 * What Kubernetes gives to the control thread, behind one interface: where functions come from, what launches pods, who
 * leads, what pods are proved with, and where it is told how pools are. cluster-connection.ts makes it; nothing of
 * Kubernetes is loaded where the configuration does not ask for it.
 */
import type { PoolStatus } from '@simmer/k8s/status/pool-status';
import type { Backend } from '@simmer/protocol/backend';
import type { Registry } from '@simmer/protocol/registry';
import type { PodKeysMessage, Successor } from '../shared/messages.ts';
import type { KeySecret } from './access/api-key-secret.ts';
import type { ClusterVitals } from './metrics.ts';

/** Who leads, of several control planes. */
export interface Election {
  /** Resolves once this one leads; never where it is closed before. */
  lead(): Promise<void>;
  /** This one serves: the others may send clients and pods here. */
  serving(): Promise<void>;
  /** Hands the lead over; the next leader once it serves, or null where there is none in time. */
  succeed(waitMs: number): Promise<Successor | null>;
  /** The lead was lost for now (`false`) or is certain again (`true`). */
  onCertainty(listener: (leads: boolean) => void): void;
  /** Another leads, and serves. */
  onDeposed(listener: (successor: Successor) => void): void;
  close(): Promise<void>;
}

export interface Cluster {
  /** Absent: functions come from the folder. */
  readonly registry?: Registry;
  /** Absent: only other backends are used. */
  readonly backend?: Backend;
  readonly election?: Election;
  readonly keys?: Omit<PodKeysMessage, 'type'>;
  /** What the keys are derived from that sign callbacks; every control plane's is the same. */
  readonly callbackSecret?: Uint8Array;
  /** Absent: they are not kept in a Secret. */
  readonly apiKeys?: KeySecret;
  /** PEM. */
  readonly ca?: string;
  vitals(): ClusterVitals;
  /** Told about once a second: how every function's pods are, and which deleted ones still have some. Writes at a bounded rate. */
  report(pools: ReadonlyMap<string, PoolStatus>, leaving: ReadonlySet<string>): void;
  close(): Promise<void>;
}
