import { API_KEY_PREFIX, API_KEY_TEXT } from '@simmer/protocol/api-keys';

const MAX_SHOWN = 100;

/** A stranger's text, short enough to be shown, and without a key that came to stand in it by mistake. */
export function clip(text: string): string {
  const shown = text.replace(API_KEY_TEXT, `${API_KEY_PREFIX}...`);
  return shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}...` : shown;
}
