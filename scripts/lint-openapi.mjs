/** Lints the OpenAPI document that the server makes, by Redocly's strict rules: `make lint`. */
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { version } from '../control-plane/dist/config/config.js';
import { openApiDocument } from '../protocol/dist/api/openapi.js';

const problems = await lintFromString({
  source: JSON.stringify(openApiDocument(version())),
  absoluteRef: 'openapi.json',
  config: await createConfig({ extends: ['recommended-strict'] }),
});
for (const { ruleId, message, location } of problems) {
  const { pointer = '' } = location[0] ?? {};
  // Its success is 101.
  if (ruleId === 'operation-2xx-response' && pointer.startsWith('#/paths/~1v1~1stream/')) continue;
  console.error(`openapi.json: ${pointer}: ${message} (${ruleId})`);
  process.exitCode = 1;
}
