/**
 * Preloaded into every test file (.taprc): tap puts a module of its own into NODE_OPTIONS to follow child processes
 * for coverage, which would also be loaded by every pod and control plane that a test starts.
 */
delete process.env.NODE_OPTIONS;
for (const name of Object.keys(process.env)) {
  // What the caller's shell configures for its own Simmer is no part of a test.
  if (name.startsWith('SIMMER_')) delete process.env[name];
}
