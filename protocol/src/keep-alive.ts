/** What `keepAliveMs` is where a manifest does not say: who sets another has said how long. */
export const DEFAULT_KEEP_ALIVE_MS = 300_000;
