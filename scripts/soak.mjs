/**
 * Containers that come and go, for a long time (`npm run soak`), from a fresh clone too: installs what they use, builds,
 * and runs test/soak. SOAK_MINUTES and SOAK_SEED: test/soak/attachments.test.ts.
 *
 *   npm run soak                 everything
 *   npm run soak -- dhcp         the files whose names have this in them
 */
import { join } from 'node:path'
import { ensureDependencies } from './dependencies.mjs'
import { root } from './root.mjs'
import { runNode } from './run-node.mjs'
import { ensurePackages } from './testing/packages.mjs'

const main = () => {
  ensureDependencies()
  for (const reason of ensurePackages(['soak']).leftOut.values()) throw new Error(reason)
  runNode(join(root, 'scripts/build.mjs'))
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  runNode(vitest, 'run', '--disable-console-intercept', '--project', 'soak', ...process.argv.slice(2))
}

try {
  main()
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
