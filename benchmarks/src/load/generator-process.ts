/** The generator as its parent sees it: one process, kept for the whole run so that every target meets the same compiled code. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LoadResult } from './recorder.ts';
import type { LoadSpec } from './spec.ts';

export class Generator {
  private readonly child: ChildProcess;

  constructor() {
    const entry = fileURLToPath(new URL('./generator.js', import.meta.url));
    this.child = fork(entry, [], { execArgv: ['--expose-gc'], serialization: 'advanced' });
  }

  /** One load at a time. @throws when the generator fails or ends. */
  run(spec: LoadSpec): Promise<LoadResult> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) =>
        reject(new Error(`the load generator exited with ${code}`));
      this.child.once('exit', onExit);
      this.child.once('message', (message: { result: LoadResult } | { error: string }) => {
        this.child.off('exit', onExit);
        if ('result' in message) resolve(message.result);
        else reject(new Error(message.error));
      });
      this.child.send(spec);
    });
  }

  close(): void {
    this.child.disconnect();
  }
}
