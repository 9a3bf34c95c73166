/** The machine's monotonic clock, milliseconds: the one that the handlers' ledger tells time by. */
export const monotonic = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;
