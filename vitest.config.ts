import { defineConfig } from 'vitest/config'

/**
 * What runs on a real kernel depends on when that gets to things. CI, where nobody can look again, lets such a test try
 * twice; `npm test` names it, and each is to be mended.
 */
const retry = process.env.CI ? 1 : 0

/** One project a kind of test. Everything but `unit` and `fuzz` needs root and real namespaces. */
const project = (name: string, extra: Record<string, unknown> = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], ...extra },
})

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      // Some start threads and programs, and the machine may have other work.
      project('unit', { testTimeout: 30_000 }),
      project('kernel', { retry, testTimeout: 30_000, hookTimeout: 30_000 }),
      project('conformance', { retry, testTimeout: 60_000, hookTimeout: 60_000 }),
      project('e2e', { retry, testTimeout: 180_000, hookTimeout: 180_000, fileParallelism: false }),
      // A million cases a run: `npm run fuzz`.
      project('fuzz', { testTimeout: 1_800_000 }),
      // As long as SOAK_MINUTES says: `npm run soak`.
      project('soak', { fileParallelism: false }),
      project('stock-kernel', { retry, testTimeout: 300_000, hookTimeout: 300_000 }),
    ],
  },
})
