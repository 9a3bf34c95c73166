/** What a pod runs. Bundled into `dist/runtime.cjs` by bundle.mjs. */
import { RUNTIME_ENV } from '@simmer/protocol/runtime-environment';
import type { Settings } from './environment.ts';
import { EnvironmentError, readSettings } from './environment.ts';
import { guard } from './guard.ts';
import { complain, Pod } from './pod.ts';
import { PreloadError, preload } from './preload.ts';

/** A bad environment: no restart helps. */
const EXIT_USAGE = 2;

const settings = settingsOrExit();
// The handler, which is loaded next, and whatever it starts shall not see them.
delete process.env[RUNTIME_ENV.token];
delete process.env[RUNTIME_ENV.poolKey];
preloadOrExit(settings);
const pod = new Pod(settings);
guard(pod, settings.exitWithStdin);
pod.load();

/** Before it dials: a generic pod that is connected is ready. */
function preloadOrExit({ preload: modules }: Settings): void {
  try {
    preload(modules);
  } catch (error) {
    if (!(error instanceof PreloadError)) throw error;
    complain(error.message);
    process.exit(1);
  }
}

function settingsOrExit(): Settings {
  try {
    return readSettings(process.env);
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    complain(error.message);
    process.exit(EXIT_USAGE);
  }
}
