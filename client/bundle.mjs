/** Makes `dist/browser.js`, the client as one ES module for browsers: with what it needs of the protocol, and nothing else. */
import { copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));

await build({
  absWorkingDir: here,
  entryPoints: ['src/client.ts'],
  outfile: 'dist/browser.js',
  bundle: true,
  platform: 'browser',
  // Browsers of 2022 and later.
  target: 'es2022',
  format: 'esm',
  minify: true,
  logLevel: 'warning',
});

// The example's page has it in its own folder, as its image does.
copyFileSync(join(here, 'dist/browser.js'), join(here, '../examples/page/client.js'));
