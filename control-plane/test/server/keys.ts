/** Files of API keys for tests: made by the code that users' are made by. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ApiKeyFile,
  addApiKey,
  type NewApiKey,
  newApiKeyFile,
  textOfApiKeyFile,
} from '@simmer/protocol/api-keys';
import type { Test } from 'tap';

export class KeyFile {
  readonly path: string;
  file: ApiKeyFile = newApiKeyFile();

  constructor(t: Pick<Test, 'teardown'>) {
    const folder = mkdtempSync(join(tmpdir(), 'simmer-keys-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    this.path = join(folder, 'api-keys.json');
    this.write();
  }

  /** Adds a key and writes the file. */
  add(wanted: Partial<NewApiKey> = {}): string {
    const { file, key } = addApiKey(this.file, { scopes: ['invoke', 'read', 'write'], ...wanted });
    this.file = file;
    this.write();
    return key;
  }

  write(text: string = textOfApiKeyFile(this.file)): void {
    writeFileSync(this.path, text);
  }
}

export const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
