import { defineConfig } from 'vitest/config'

/** One project a kind of test. Everything but `unit` needs root and real namespaces. */
const project = (name: string, extra: Record<string, unknown> = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], ...extra },
})

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      project('unit'),
      project('kernel', { testTimeout: 30_000, hookTimeout: 30_000 }),
      project('conformance', { testTimeout: 60_000, hookTimeout: 60_000 }),
      project('e2e', { testTimeout: 180_000, hookTimeout: 180_000, fileParallelism: false }),
      project('stock-kernel', { testTimeout: 300_000, hookTimeout: 300_000, fileParallelism: false }),
    ],
  },
})
