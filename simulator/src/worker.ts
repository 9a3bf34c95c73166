/** One run, on a thread of its own. */
import { parentPort, workerData } from 'node:worker_threads';
import { type Job, run } from './run.ts';

parentPort?.postMessage(await run(workerData as Job));
