/**
 * Bundles as ConfigMaps of the control plane's own namespace: one that tells of a bundle, and of its bytes a piece each, since an object
 * holds no more than a megabyte. The pieces belong to the first: the cluster removes them with it.
 *
 *   (nothing) ──▶ writing ──pieces──▶ whole ──▶ (removed, the pieces after it)
 *                    └── cut off: written on by the next who brings the same bytes, or removed
 *
 * Invariants:
 *  1. What is not whole is not there for who reads.
 *  2. Nothing is written while another control plane may lead: only the leader decides what goes.
 */
import type { CodeShelf, Shelved } from '@simmer/protocol/code-shelf';
import {
  type Api,
  CONFIG_MAPS,
  isReason,
  isTransient,
  type KubeLog,
  type KubeObject,
} from '../api/api.ts';
import { type Clock, systemClock } from '../api/clock.ts';
import { inLanes } from '../api/lanes.ts';

/** Within what a ConfigMap may hold (1 MiB) and etcd takes in one request (1.5 MiB), with room for the rest of the object. */
const PIECE_BYTES = 786_432;
/** etcd is small, and the cluster's: 2 GiB for everything by default. */
export const MAX_CONFIG_MAP_BYTES = 268_435_456;
/** One that is being written takes seconds. */
const UNFINISHED_MS = 600_000;
const RETRY_MS = 1_000;

/** On each of them; its value says what it is. */
export const CODE_LABEL = 'simmer.dev/code';

interface Told extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
}

export interface ConfigMapShelfOptions {
  readonly api: Api;
  readonly namespace: string;
  readonly maxBytes: number;
  readonly mayWrite: () => boolean;
  readonly log: KubeLog;
  readonly clock?: Clock;
}

export class ConfigMapShelf implements CodeShelf {
  readonly name: string;
  readonly maxBytes: number;
  private readonly options: ConfigMapShelfOptions;
  private readonly clock: Clock;

  constructor(options: ConfigMapShelfOptions) {
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.name = `the ConfigMaps of ${options.namespace}`;
    this.maxBytes = Math.min(options.maxBytes, MAX_CONFIG_MAP_BYTES);
  }

  /** However long the API server is away: a function whose code is only late must not be taken for one without. */
  async read(digest: string): Promise<Uint8Array | undefined> {
    const told = await this.find(nameOf(digest));
    if (told === undefined || !isWhole(told)) return undefined; // 1
    const pieces: Buffer[] = [];
    for (let i = 0; i < Number(told.data?.['pieces']); i++) {
      const piece = (await this.find(nameOf(digest, i)))?.binaryData?.['code'];
      if (piece === undefined) return undefined;
      pieces.push(Buffer.from(piece, 'base64'));
    }
    return Buffer.concat(pieces);
  }

  async list(): Promise<readonly Shelved[]> {
    const { api, namespace } = this.options;
    const labelSelector = `${CODE_LABEL}=bundle`;
    const { items } = await api.list<Told>(CONFIG_MAPS, namespace, { labelSelector });
    const found: Shelved[] = [];
    for (const told of items) {
      const usedAt = Date.parse(told.metadata.creationTimestamp ?? '') || 0;
      const { digest, bytes } = told.data ?? {};
      if (digest === undefined) continue;
      if (!isWhole(told) && this.clock.epoch() - usedAt > UNFINISHED_MS) {
        await this.remove(digest);
      } else {
        found.push({ digest, bytes: Number(bytes), usedAt });
      }
    }
    return found;
  }

  async write(digest: string, bytes: Uint8Array): Promise<void> {
    const { api, namespace } = this.options;
    this.mustLead();
    const count = Math.max(1, Math.ceil(bytes.length / PIECE_BYTES));
    const told = await this.begin(digest, bytes.length, count);
    if (isWhole(told)) return;
    const owner = {
      ...{ apiVersion: 'v1', kind: 'ConfigMap', name: nameOf(digest) },
      uid: told.metadata.uid ?? '',
    };
    await inLanes(Array(count).keys(), async (i) => {
      this.mustLead();
      const piece = bytes.subarray(i * PIECE_BYTES, (i + 1) * PIECE_BYTES);
      const object = {
        metadata: { ...metadataOf(nameOf(digest, i), 'piece'), ownerReferences: [owner] },
        immutable: true,
        binaryData: { code: Buffer.from(piece).toString('base64') },
      };
      try {
        await api.create(CONFIG_MAPS, namespace, object);
      } catch (error) {
        // Of an earlier try, whose bytes were the same.
        if (!isReason(error, 'AlreadyExists')) throw error;
      }
    });
    await api.patch(CONFIG_MAPS, namespace, nameOf(digest), { data: { state: 'whole' } });
  }

  async remove(digest: string): Promise<void> {
    this.mustLead();
    await this.options.api.remove(CONFIG_MAPS, this.options.namespace, nameOf(digest));
  }

  /** The ConfigMap that tells of it, its own or an earlier one's. */
  private async begin(digest: string, bytes: number, pieces: number): Promise<Told> {
    const { api, namespace } = this.options;
    const data = { digest, bytes: `${bytes}`, pieces: `${pieces}`, state: 'writing' };
    try {
      const metadata = metadataOf(nameOf(digest), 'bundle');
      return await api.create<Told>(CONFIG_MAPS, namespace, { metadata, data } as Told);
    } catch (error) {
      if (!isReason(error, 'AlreadyExists')) throw error;
      return api.get<Told>(CONFIG_MAPS, namespace, nameOf(digest));
    }
  }

  private async find(name: string): Promise<Told | undefined> {
    const { api, namespace, log } = this.options;
    for (;;) {
      try {
        return await api.find<Told>(CONFIG_MAPS, namespace, name);
      } catch (error) {
        if (!isTransient(error)) throw error;
        log.warn({ configMap: name }, `code waits to be read: ${(error as Error).message}`);
        await new Promise<void>((resolve) => {
          this.clock.after(RETRY_MS, resolve);
        });
      }
    }
  }

  /** 2 */
  private mustLead(): void {
    if (!this.options.mayWrite()) throw new Error('another control plane may lead');
  }
}

/** Of the bundle, or of one of its pieces. */
function nameOf(digest: string, piece?: number): string {
  const name = `simmer-code-${digest.slice('sha256:'.length)}`;
  return piece === undefined ? name : `${name}-${piece}`;
}

function metadataOf(name: string, what: 'bundle' | 'piece') {
  return { name, labels: { 'app.kubernetes.io/part-of': 'simmer', [CODE_LABEL]: what } };
}

function isWhole(told: Told): boolean {
  return told.data?.['state'] === 'whole';
}
