/**
 * Makes `dist/runtime.cjs`, the file that a pod runs, from `src/main.ts`; `dist/validator.cjs`, which it loads where the function has
 * schemas, from `src/validator.ts`; and `dist/unpacker.cjs`, which it loads where its code is an archive, from `src/unpacker.ts`.
 *
 * CommonJS, because Node starts it about 30 ms sooner than the same file as an ES module, and without source maps or
 * native addons. What each choice gave is in docs/adr/0002-runtime-cold-start.md. Skipped when no input has changed.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const BUNDLES = {
  'runtime.cjs': 'src/main.ts',
  'validator.cjs': 'src/validator.ts',
  'unpacker.cjs': 'src/unpacker.ts',
};

/**
 * ws asks for these when it is loaded and needs them only for `wss:` and for compression, which the link does not use.
 * Loading them takes 12 ms (TLS brings OpenSSL's start with it), so they are loaded at their first use.
 */
const LAZY = {
  https: ['request'],
  tls: ['connect'],
  zlib: ['createInflateRaw', 'createDeflateRaw'],
};
const lazyBuiltins = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({ filter: /^(https|tls|zlib)$/ }, ({ path, importer }) =>
      /[\\/]ws[\\/]lib[\\/]/.test(importer) ? { path, namespace: 'lazy' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'lazy' }, ({ path }) => ({
      contents: LAZY[path]
        .map((name) => `exports.${name} = (...args) => require('node:${path}').${name}(...args);`)
        .join('\n'),
      loader: 'js',
    }));
  },
};

/**
 * Native addons are optional to ws and msgpackr, cost a failed file search or a dlopen at the start, and cannot ride in
 * one file. (A zero mask leaves bufferutil nothing to do.)
 */
const noAddons = {
  name: 'no-addons',
  setup(build) {
    build.onResolve({ filter: /^msgpackr$/ }, async ({ resolveDir, pluginData }) => {
      if (pluginData === 'no-addons') return undefined;
      const found = await build.resolve('msgpackr', {
        resolveDir,
        kind: 'import-statement',
        pluginData: 'no-addons',
      });
      return { path: join(dirname(found.path), 'index.js') };
    });
    // The client alone, without the server.
    build.onResolve({ filter: /^ws$/ }, async ({ resolveDir, pluginData }) => {
      if (pluginData === 'no-addons') return undefined;
      const found = await build.resolve('ws', {
        resolveDir,
        kind: 'import-statement',
        pluginData: 'no-addons',
      });
      return { path: join(dirname(found.path), 'lib', 'websocket.js') };
    });
    build.onResolve({ filter: /^(bufferutil|utf-8-validate)$/ }, ({ path }) => ({
      path,
      namespace: 'addon',
    }));
    build.onLoad({ filter: /.*/, namespace: 'addon' }, () => ({
      contents: "throw new Error('not bundled');",
      loader: 'js',
    }));
  },
};

for (const [name, entry] of Object.entries(BUNDLES)) {
  const outfile = join(here, 'dist', name);
  const inputsFile = outfile.replace('.cjs', '.inputs.json');
  if (!isCurrent(outfile, inputsFile)) await bundle(entry, outfile, inputsFile);
}

/** Newer than each file it was made of, this one included. */
function isCurrent(outfile, inputsFile) {
  if (!existsSync(outfile) || !existsSync(inputsFile)) return false;
  const made = statSync(outfile).mtimeMs;
  const inputs = JSON.parse(readFileSync(inputsFile, 'utf8'));
  return inputs.every((file) => {
    const stat = statSync(join(here, file), { throwIfNoEntry: false });
    return stat !== undefined && stat.mtimeMs <= made;
  });
}

async function bundle(entry, outfile, inputsFile) {
  const { build } = await import('esbuild');
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'inline',
    metafile: true,
    logLevel: 'warning',
    plugins: [lazyBuiltins, noAddons],
  });
  const inputs = Object.keys(metafile.inputs).filter((file) => !file.includes(':'));
  writeFileSync(inputsFile, JSON.stringify([...inputs, 'bundle.mjs']));
}
