/** The command line as a child process, as a shell runs it. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const SIMMER = fileURLToPath(new URL('../../simmer', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** What it printed, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they expect
  readonly json: any;
}

export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

export function cli(
  args: readonly string[],
  { env = {}, stdin }: Surroundings = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const { PATH = '' } = process.env;
    const child = spawn(SIMMER, args, { env: { PATH, ...env }, stdio: 'pipe' });
    let out = '';
    let err = '';
    child.stdout.on('data', (data) => {
      out += data;
    });
    child.stderr.on('data', (data) => {
      err += data;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({
        code,
        out,
        err,
        get json() {
          return JSON.parse(out || err);
        },
      });
    });
    child.stdin.end(stdin);
  });
}
