/**
 * A bundle of its own, `dist/validator.cjs`, which a pod loads once its function has a schema (validation.ts): ajv and re2js take
 * tens of milliseconds that the others' cold starts shall not pay.
 */
export { compileSchema } from '@simmer/protocol/json-schema';
