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
  console.error(`openapi.json: ${location[0]?.pointer}: ${message} (${ruleId})`);
}
if (problems.length > 0) process.exitCode = 1;
