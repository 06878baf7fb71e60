import { describe, expect, it } from 'vitest';
import { walletErrors } from '../../../src/transport/tweenpay/contract.ts';
import { buildTweenPayOpenApi } from '../../../src/transport/tweenpay/openapi.ts';

describe('the wallet contract as OpenAPI', () => {
  const text = `${JSON.stringify(buildTweenPayOpenApi(), null, 2)}\n`;

  it('is what docs/api/tweenpay.openapi.json holds', async () => {
    await expect(text).toMatchFileSnapshot('../../../docs/api/tweenpay.openapi.json');
  });

  it('refers only to components it has', () => {
    const document = buildTweenPayOpenApi() as { components: Record<string, Record<string, unknown>> };
    const references = [...text.matchAll(/"\$ref": "#\/components\/(\w+)\/(\w+)"/g)];
    expect(references.length).toBeGreaterThan(30);
    for (const [, section, name] of references) expect(document.components[section!]?.[name!], `${section}/${name}`).toBeDefined();
  });

  it('demands an idempotency key of every mutation and of nothing else', () => {
    const { paths } = buildTweenPayOpenApi() as { paths: Record<string, Record<string, { parameters?: unknown[] }>> };
    const keyed = Object.entries(paths).flatMap(([path, operations]) =>
      Object.entries(operations)
        .filter(([, operation]) => JSON.stringify(operation.parameters ?? []).includes('IdempotencyKey'))
        .map(([method]) => `${method} ${path}`),
    );
    expect(keyed.sort()).toEqual([
      'post /v1/charges',
      'post /v1/charges/{txn}/refunds',
      'put /v1/merchants/{app}/account',
      'put /v1/users/{id}/account',
    ]);
  });

  it('names every error code but those of the service as a whole', () => {
    const missing = Object.keys(walletErrors).filter((code) => !text.includes(`\`${code}\``));
    expect(missing).toEqual(['forbidden', 'not_found', 'payload_too_large']);
  });
});
