/**
 * Connects to Kubernetes: the only module that loads what is in k8s/. An API server that is away is waited for; what it
 * refuses stops the start, and names the permission that is missing.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { Api, isTransient } from '@simmer/k8s/api/api';
import { KubernetesBackend } from '@simmer/k8s/backend/backend';
import { ConfigMapShelf } from '@simmer/k8s/code/config-map-shelf';
import { ensureApiKeys, readApiKeys } from '@simmer/k8s/keys/api-keys';
import { type ControlPlaneKeys, ensureKeys } from '@simmer/k8s/keys/keys';
import { LeaderElection } from '@simmer/k8s/lease/election';
import { KubernetesRegistry } from '@simmer/k8s/registry/registry';
import { StatusWriter } from '@simmer/k8s/status/writer';
import { type Config, codeStoreOf } from '../config/config.ts';
import type { ControlThreadData } from '../shared/messages.ts';
import type { KeySecret } from './access/api-key-secret.ts';
import type { Cluster, Election } from './cluster.ts';
import type { CodeStore } from './code/store.ts';
import type { Log } from './log.ts';

const RETRY_MS = 1_000;

/** @throws {Error} with a message for a person */
export async function connect(
  { config }: ControlThreadData,
  log: Log,
  store: CodeStore,
): Promise<Cluster> {
  const api = Api.load();
  const { namespaces, runtimeImage } = config;
  const election = config.instance === '' ? undefined : electionOf(api, config, log);
  const mayWrite = (): boolean => election?.leads ?? true;
  const registry: KubernetesRegistry | undefined =
    config.registry === 'kubernetes'
      ? new KubernetesRegistry({
          api,
          namespaces,
          log,
          stockImage: runtimeImage,
          bundles: store,
          mayWrite,
          cleanUp: async (key, uid) => backend?.cleanUp(key, uid),
        })
      : undefined;
  if (registry && codeStoreOf(config) === '') {
    const { instanceNamespace: namespace, codeStoreMaxBytes: maxBytes } = config;
    store.shelve(new ConfigMapShelf({ api, namespace, maxBytes, mayWrite, log }));
  }
  const status =
    registry &&
    new StatusWriter({
      api,
      objects: registry,
      log,
      instance: config.instance || 'simmer',
      mayWrite,
    });
  const keys = config.backends.includes('kubernetes')
    ? await patiently(
        () =>
          ensureKeys(api, config.instanceNamespace, {
            ...(config.podTlsSecret !== '' && { tlsSecret: config.podTlsSecret }),
          }),
        log,
      )
    : undefined;
  const backend =
    keys &&
    new KubernetesBackend({
      api,
      namespaces,
      runtimeImage,
      log,
      caPem: config.podPlain ? '' : keys.caPem,
      fallbackAddress: config.podService,
      maxTimeoutMs: config.maxTimeoutMs,
      functionUid: (key) => registry?.object(key)?.metadata.uid,
    });
  return {
    ...(registry && { registry }),
    ...(backend && { backend }),
    ...(keys && partsOfKeys(keys, config)),
    ...(election && { election: standingDown(election, backend) }),
    ...(config.apiKeysSecret !== '' && { apiKeys: keySecretOf(api, config, log) }),
    vitals: () => ({
      staleMs: Math.max(registry?.staleMs ?? 0, backend?.staleMs ?? 0),
      writes: api.writeCount,
      leads: mayWrite(),
    }),
    report(pools, leaving) {
      registry?.finish(leaving);
      void status?.report(pools);
    },
    async close() {
      await status?.close();
      await election?.close();
      await keys?.dispose();
      api.close();
    },
  };
}

function electionOf(api: Api, config: Config, log: Log): LeaderElection {
  return new LeaderElection({
    api,
    namespace: config.instanceNamespace,
    identity: config.instance,
    address: config.podAddress,
    clientAddress: clientAddressOf(config),
    log,
  });
}

function keySecretOf(api: Api, { instanceNamespace, apiKeysSecret }: Config, log: Log): KeySecret {
  return {
    ensure: () =>
      patiently(() => ensureApiKeys(api, instanceNamespace, apiKeysSecret, Date.now()), log),
    read: () => readApiKeys(api, instanceNamespace, apiKeysSecret),
  };
}

/** Pods and other control planes reach this one by the same host. */
function clientAddressOf({ podAddress, port, tlsCert }: Config): string {
  const scheme = tlsCert === '' ? 'http' : 'https';
  return podAddress === '' ? '' : `${scheme}://${new URL(podAddress).hostname}:${port}`;
}

/** Whoever does not lead writes nothing. */
function standingDown(election: LeaderElection, backend: KubernetesBackend | undefined): Election {
  return {
    lead: () => election.lead(),
    serving: () => election.serving(),
    succeed(waitMs) {
      backend?.standDown();
      return election.succeed(waitMs);
    },
    onCertainty: (listener) => election.onCertainty(listener),
    onDeposed: (listener) =>
      election.onDeposed((successor) => {
        backend?.standDown();
        listener(successor);
      }),
    close: () => election.close(),
  };
}

function partsOfKeys(own: ControlPlaneKeys, config: Config) {
  const { keys, caPem, certFile, keyFile, callbackSecret } = own;
  if (config.podPlain) return { keys: { keys }, callbackSecret };
  return { keys: { keys, tls: { certFile, keyFile } }, ca: caPem, callbackSecret };
}

async function patiently<T>(what: () => Promise<T>, log: Log): Promise<T> {
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (!isTransient(error)) throw error;
      log.warn(`the Kubernetes API does not answer: ${(error as Error).message}`);
      await pause(RETRY_MS);
    }
  }
}
