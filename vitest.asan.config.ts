import { defineConfig } from 'vitest/config'

/** Run by scripts/test-asan.mjs, which builds the addon named here and preloads the sanitizers. */
export default defineConfig({
  define: { __LINKWRIGHT_ADDON__: JSON.stringify(process.env.LINKWRIGHT_ADDON) },
  test: {
    pool: 'forks',
    maxWorkers: 2,
    include: ['test/unit/native/**/*.test.ts', 'test/kernel/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
})
