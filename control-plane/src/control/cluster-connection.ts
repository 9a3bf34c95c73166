import type { ControlThreadData } from '../shared/messages.ts';
import type { Cluster } from './cluster.ts';
import type { Log } from './log.ts';

export async function connect(_data: ControlThreadData, _log: Log): Promise<Cluster> {
  throw new Error('being written');
}
