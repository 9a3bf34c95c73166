/** Holds inputs and outputs against the function's schemas, where it has any. */
import { createRequire } from 'node:module';
import type { Welcome } from '@simmer/protocol/frames';
import type { Check, ValueFault } from '@simmer/protocol/json-schema';
import type { Attempt } from './attempt.ts';
import type { Executor } from './executor.ts';
import { type Failure, failure } from './failure.ts';

/** undefined: anything fits. */
export interface Validation {
  readonly input: Check | undefined;
  readonly output: Check | undefined;
}

export const NO_VALIDATION: Validation = { input: undefined, output: undefined };

/** Takes about 30 ms where there is a schema. @throws whatever makes it none, which the control plane should have seen. */
export function compileValidation({
  inputSchema,
  outputSchema,
}: Pick<Welcome, 'inputSchema' | 'outputSchema'>): Validation {
  if (!inputSchema && !outputSchema) return NO_VALIDATION;
  const load = createRequire(__filename);
  const { compileSchema } = load('./validator.cjs') as typeof import('./validator.ts');
  const compile = (text: string | undefined) =>
    text ? compileSchema(JSON.parse(text), true) : undefined;
  return { input: compile(inputSchema), output: compile(outputSchema) };
}

/** False: it does not fit, and the attempt has failed with that. */
export function acceptInput(executor: Executor, attempt: Attempt, input: unknown): boolean {
  const check = executor.validation.input;
  if (check === undefined) return true;
  const faults = ArrayBuffer.isView(input) ? NO_BYTES : check(input);
  if (faults === undefined) return true;
  executor.fail(attempt, described(faults, 'bad_input', 'invalid_input'));
  return false;
}

/** As JSON, or undefined for what is not sent as such. False: it does not fit, and the attempt has failed with that. */
export function acceptOutput(
  executor: Executor,
  attempt: Attempt,
  json: Buffer | undefined,
): boolean {
  const check = executor.validation.output;
  if (check === undefined) return true;
  // Its JSON form is what the caller gets, and the schema speaks of: dates are strings there.
  const faults = json === undefined ? NO_BYTES : check(JSON.parse(json.toString()));
  if (faults === undefined) return true;
  const how = described(faults, 'error', 'invalid_output');
  executor.log.write('error', `${how.code}: ${how.message}`, undefined, attempt);
  executor.fail(attempt, how);
  return false;
}

const NO_BYTES: readonly ValueFault[] = [['', 'must be JSON or text, not bytes']];

function described(
  faults: readonly ValueFault[],
  outcome: Failure['outcome'],
  code: 'invalid_input' | 'invalid_output',
): Failure {
  const [path = '', what = ''] = faults[0] ?? [];
  return { ...failure(outcome, code, path === '' ? what : `${path}: ${what}`), errors: faults };
}
