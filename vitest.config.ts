/**
 * One project per test folder, so that `npm test` runs all of them and a script can run one kind alone.
 * Postgres and Redis are started by `test/global-setup.ts` when the first test asks for them, never for unit tests alone.
 */
import { defineConfig } from 'vitest/config';

/** The folders under `test/`; each answers a question of its own (CONTRIBUTING.md). */
const kinds = ['unit', 'contract', 'integration', 'e2e', 'conformance', 'sim'];

export default defineConfig({
  test: {
    // Two cores: more workers only make tests with real servers slower.
    maxWorkers: 2,
    reporters: ['default'],
    // Here and not in the projects: they would each run it once more.
    globalSetup: ['test/global-setup.ts'],
    projects: kinds.map((name) => ({
      test: { name, include: [`test/${name}/**/*.test.ts`], pool: 'forks' as const, testTimeout: 60_000, hookTimeout: 90_000 },
    })),
  },
});
