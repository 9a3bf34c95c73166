/** Where a load comes from, in a form that crosses threads. */
import { fileURLToPath } from 'node:url';
import type { Load } from './load.ts';
import { readShape } from './quantiles.ts';
import { type ShapedLoad, shapedLoad } from './shaped.ts';
import { readTrace2019, readTrace2021, type TraceOptions } from './traces.ts';

export type LoadSpec =
  | ({ readonly kind: 'shape' } & ShapedLoad)
  | ({ readonly kind: 'trace-2019'; readonly folder: string } & TraceOptions)
  | ({ readonly kind: 'trace-2021'; readonly file: string } & TraceOptions);

export const SHAPE_FILE = fileURLToPath(
  new URL('../../data/azure-2019-quantiles.csv', import.meta.url),
);

export async function loadOf(spec: LoadSpec): Promise<Load> {
  switch (spec.kind) {
    case 'shape':
      return shapedLoad(readShape(SHAPE_FILE), spec);
    case 'trace-2019':
      return readTrace2019(spec.folder, spec);
    case 'trace-2021':
      return readTrace2021(spec.file, spec);
  }
}
