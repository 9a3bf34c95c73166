/** What a manifest and a request may say of retries. */

/** Why an attempt failed: its pod was lost, its time was over, or the handler failed. */
export const RETRY_CAUSES = ['lost', 'timeout', 'error'] as const;
export type RetryCause = (typeof RETRY_CAUSES)[number];

/** Attempts that may follow the first. */
export const MAX_RETRIES = 100;
