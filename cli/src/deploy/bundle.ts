/** A folder's code as one thing that can be uploaded: a module with all that it imports, or the folder's files as they are. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { type PackedFile, packArchive } from '@simmer/protocol/archive';
import type { BuildOptions, BuildResult, Message, Plugin } from 'esbuild';
import { EXIT, Failure } from '../failure.ts';

export interface Bundle {
  readonly bytes: Uint8Array;
  /** `sha256:<hex>` */
  readonly digest: string;
  readonly contentType: 'text/javascript' | 'application/gzip';
  /** What `spec.handler` is to be. */
  readonly handler: string;
}

/** Its suffix says what esbuild makes of it. */
const MODULE = 'handler.mjs';

/** Load what cannot ride in one file: files of their own that the operating system loads. */
const ADDON_LOADERS =
  /^(bindings|node-gyp-build|node-gyp-build-optional-packages|@mapbox\/node-pre-gyp|node-pre-gyp)$/;

const noAddons: Plugin = {
  name: 'no-addons',
  setup(build) {
    const refuse = (what: string) => ({
      errors: [
        {
          text: `${what} is a native addon, which needs an image (docs/install.md); or, where the handler does without it, --external`,
        },
      ],
    });
    build.onResolve({ filter: /\.node$/ }, ({ path }) => refuse(path));
    build.onResolve({ filter: ADDON_LOADERS }, ({ path, importer }) =>
      refuse(`what ${importer} loads by ${path}`),
    );
  },
};

type Options = BuildOptions & { write: false; metafile: true };
export type Built = BuildResult<{ write: false; metafile: true }>;

/** How `entry` of `folder` becomes one module. `external`: what stays out of it. `plugins`: more of them. */
export function buildOptions(
  folder: string,
  entry: string,
  external: readonly string[],
  plugins: readonly Plugin[] = [],
): Options {
  return {
    absWorkingDir: folder,
    entryPoints: [entry.startsWith('.') ? entry : `./${entry}`],
    outfile: join(folder, MODULE),
    bundle: true,
    write: false,
    metafile: true,
    external: [...external],
    platform: 'node',
    target: 'node22',
    format: 'esm',
    // CommonJS within it asks for Node's own modules by this; a declaration might meet one of the handler's own.
    banner: {
      js: "import { createRequire as simmerRequire } from 'node:module'; globalThis.require ??= simmerRequire(import.meta.url);",
    },
    keepNames: true,
    logLevel: 'silent',
    plugins: [noAddons, ...plugins],
  };
}

/** @throws {Failure} with what does not build */
export async function bundled(
  folder: string,
  entry: string,
  external: readonly string[],
): Promise<Bundle> {
  const { build } = await import('esbuild');
  try {
    return bundleOf(folder, await build(buildOptions(folder, entry, external)));
  } catch (error) {
    const { errors } = error as { errors?: readonly Message[] };
    if (errors === undefined) throw error;
    throw doesNotBuild(errors);
  }
}

/** @throws {Failure} where a package of it loads a native addon, in ways that esbuild does not see */
export function bundleOf(folder: string, { outputFiles, metafile }: Built): Bundle {
  const addon = addonIn(folder, Object.keys(metafile.inputs));
  if (addon !== undefined) {
    const what = `${addon} has a native addon, which needs an image (docs/install.md)`;
    throw new Failure(EXIT.usage, `${what}; or, where the handler does without it, --external`);
  }
  const [file] = outputFiles;
  return withDigest(file?.contents ?? new Uint8Array(), 'text/javascript', MODULE);
}

/** A package of these files that brings another one for this machine's processor or system, as those with prebuilt addons do. */
function addonIn(folder: string, inputs: readonly string[]): string | undefined {
  const roots = new Set(inputs.flatMap((path) => PACKAGE.exec(path)?.[0] ?? []));
  for (const path of roots) {
    const root = join(folder, path);
    const { name, optionalDependencies = {} } = descriptionOf(root) ?? {};
    for (const other of Object.keys(optionalDependencies)) {
      const beside = root.slice(0, root.lastIndexOf('node_modules'));
      const places = [root, beside].map((place) => join(place, 'node_modules', other));
      const found = places.map(descriptionOf).find((one) => one !== undefined);
      if (found?.cpu !== undefined || found?.os !== undefined) return name;
    }
  }
  return undefined;
}

/** Up to the package's own folder: the last one of several. */
const PACKAGE = /^.*node_modules\/(@[^/]+\/)?[^/]+/;

interface Description {
  readonly name?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: unknown;
  readonly cpu?: unknown;
}

function descriptionOf(root: string): Description | undefined {
  try {
    return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Description;
  } catch {
    return undefined;
  }
}

export function doesNotBuild(errors: readonly Message[]): Failure {
  const lines = errors.map(({ text, location }) => {
    const where = location === null ? '' : `${location.file}:${location.line}:${location.column}: `;
    return `  ${where}${text}`;
  });
  return new Failure(EXIT.usage, `the code does not build:\n${lines.join('\n')}`);
}

/** The folder's files as they are, with their dependencies; names that begin with a dot stay. @throws {Failure} */
export async function packed(folder: string, entry: string): Promise<Bundle> {
  return withDigest(await packArchive(filesBelow(folder)), 'application/gzip', entry);
}

function* filesBelow(
  root: string,
  folder = root,
  above: readonly string[] = [],
): Generator<PackedFile> {
  const real = realpathSync(folder);
  if (above.includes(real)) {
    throw new Failure(EXIT.usage, `${folder} is a link to a folder that it lies in`);
  }
  for (const name of readdirSync(folder).sort()) {
    if (name.startsWith('.')) continue;
    const path = join(folder, name);
    const stats = statSync(path);
    if (stats.isDirectory()) yield* filesBelow(root, path, [...above, real]);
    if (!stats.isFile()) continue;
    const shown = relative(root, path).split(sep).join('/');
    if (name.endsWith('.node')) {
      const what = `${shown} is a native addon, which needs an image (docs/install.md)`;
      throw new Failure(EXIT.usage, what);
    }
    const executable = (stats.mode & 0o100) !== 0;
    yield { path: shown, bytes: readFileSync(path), executable };
  }
}

function withDigest(
  bytes: Uint8Array,
  contentType: Bundle['contentType'],
  handler: string,
): Bundle {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { bytes, digest, contentType, handler };
}
