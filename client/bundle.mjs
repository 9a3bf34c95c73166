/** Makes `dist/browser.js`, the client as one ES module for browsers: with what it needs of the protocol, and nothing else. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

await build({
  absWorkingDir: dirname(fileURLToPath(import.meta.url)),
  entryPoints: ['src/client.ts'],
  outfile: 'dist/browser.js',
  bundle: true,
  platform: 'browser',
  // Browsers of 2022 and later.
  target: 'es2022',
  format: 'esm',
  minify: true,
  sourcemap: 'linked',
  logLevel: 'warning',
});
