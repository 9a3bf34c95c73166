/** What is simulated: functions, and for each a stream of its calls. */

export interface SimulatedFunction {
  readonly name: string;
  readonly memoryMib: number;
  readonly coldStartMs: number;
  /** From the start, the same each time. */
  calls(): Calls;
}

/** The calls of one function in the order of their time. Reading one overwrites the one before: no object for each. */
export interface Calls {
  /** When the call that was read last comes, milliseconds from the start; Infinity once there are no more. */
  at: number;
  /** How long its handler takes. */
  serviceMs: number;
  /** Reads the next one. */
  next(): void;
}

export interface Load {
  readonly functions: readonly SimulatedFunction[];
  readonly durationMs: number;
  /** For the report: what it is. */
  readonly title: string;
}
