/** Every scenario, in the order they run and are printed in. */
import { clients } from './clients.ts';
import { coldStart } from './cold-start.ts';
import type { Scenario } from './context.ts';
import { generic } from './generic.ts';
import { growth, ownTime } from './growth.ts';
import { kill } from './kill.ts';
import { memory } from './memory.ts';
import { neighbour } from './neighbour.ts';
import { overload } from './overload.ts';
import { scaling } from './scaling.ts';
import { stream } from './stream.ts';
import { pods, warm } from './warm.ts';

export const SCENARIOS: readonly Scenario[] = [
  warm,
  pods,
  clients,
  stream,
  coldStart,
  generic,
  growth,
  ownTime,
  overload,
  scaling,
  kill,
  neighbour,
  memory,
];
