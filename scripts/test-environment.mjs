/**
 * Preloaded into every test file (.taprc). tap makes each child process load a module of its own, to follow it for
 * coverage; here that would load into every pod and control plane that a test starts, and is not wanted.
 */
import processOnSpawn from 'process-on-spawn';

processOnSpawn.removeAllListeners();
delete process.env.NODE_OPTIONS;
/** What the tests themselves are told by (test-k8s.mjs). */
const OURS = /^SIMMER_(CLUSTER|IMAGE|TEST)_/;
for (const name of Object.keys(process.env)) {
  // Nor is what the caller's shell configures for a Simmer of its own.
  const configures = name.startsWith('SIMMER_') && !OURS.test(name);
  if (configures || name.startsWith('_TAPJS_')) delete process.env[name];
}
