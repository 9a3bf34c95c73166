/**
 * The entry of the control thread, a worker. What goes wrong here and is not caught ends the worker, which the main
 * thread sees as its `error` and ends the process: a control plane never limps on with half of itself.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { podBaseEnvironment } from '../config/environment.ts';
import type { ControlThreadData, ToControl } from '../shared/messages.ts';
import { nodeRuntime } from './backends/process.ts';
import { Control } from './control.ts';
import { standardOutput } from './log.ts';

const port = parentPort;
if (port === null) throw new Error('this is the entry of a worker thread');

const control = new Control({
  data: workerData as ControlThreadData,
  send: (message) => port.postMessage(message),
  sink: standardOutput(),
  command: nodeRuntime(),
  podEnvironment: podBaseEnvironment(),
  // Loaded only where it is asked for: the Kubernetes client costs half a second and 90 MB.
  connect: async (...given) => (await import('./cluster-connection.ts')).connect(...given),
});
port.on('message', (message: ToControl) => control.onMessage(message));
await control.start();
