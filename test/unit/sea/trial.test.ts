import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { expect, test } from 'vitest'

const require = createRequire(import.meta.url)
const folder = fileURLToPath(new URL('../../../scripts/sea', import.meta.url))

type Run = (require: (id: string) => unknown, process: unknown) => unknown

// What fails here is compiled at each call instead: teach scripts/sea/trial/kernel.cjs the answer that it needs.
test('no trial of the executable fails', async () => {
  const { bundleExecutable } = (await import(join(folder, 'bundle.mjs'))) as {
    bundleExecutable(): Promise<{ plugins: string }>
  }
  const { tryOut } = require(join(folder, 'trial/index.cjs')) as {
    tryOut(run: Run, dataDir: string): Promise<string[]>
  }
  const script = new Script((await bundleExecutable()).plugins, { filename: 'plugins.js' })
  const run: Run = (...given) => {
    const module = { exports: {} }
    script.runInThisContext()(module, ...given)
    return module.exports
  }
  const dataDir = mkdtempSync(join(tmpdir(), 'linkwright-trial-'))
  try {
    expect(await tryOut(run, dataDir)).toEqual([])
  } finally {
    rmSync(dataDir, { recursive: true })
  }
})
