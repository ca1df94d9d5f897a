import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

/** The Node in the executable. 20 and 22 honour NODE_OPTIONS there whatever is asked for. */
export const nodeVersion = '24.21.0'

/** Of the packages node-linux-<arch>, as the registry has them: what is fetched is this or nothing. */
const integrity = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
}

/** What can be built. */
export const architectures = Object.keys(integrity)

const cache = join(root, 'build/node')

const run = (file, args, cwd) => {
  const { status, error, stderr } = spawnSync(file, args, { cwd, encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`${file} ${args.join(' ')} failed (exit ${status}):\n${stderr}`)
}

const fetchInto = (folder, arch) => {
  const name = `node-linux-${arch}@${nodeVersion}`
  console.log(`fetching ${name}`)
  run('npm', ['pack', name, '--ignore-scripts', '--silent'], folder)
  const file = readdirSync(folder).find((entry) => entry.endsWith('.tgz'))
  if (!file) throw new Error(`npm pack ${name} left no file`)
  const hash = createHash('sha512')
    .update(readFileSync(join(folder, file)))
    .digest('base64')
  if (`sha512-${hash}` !== integrity[arch])
    throw new Error(`${name} is not what it was: sha512-${hash} instead of ${integrity[arch]}`)
  run(
    'tar',
    ['-xzf', file, '--no-same-owner', 'package/bin/node', 'package/LICENSE', 'package/include'],
    folder,
  )
}

/**
 * The folder of the package node-linux-<arch>: bin/node, LICENSE, include/. Fetched once, into build/node/.
 * @throws Error where it can't be fetched, or is another than was written down here
 */
export const nodePackage = (arch) => {
  const kept = join(cache, `${nodeVersion}-${arch}`)
  if (existsSync(kept)) return kept
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, '.fetch-'))
  try {
    fetchInto(folder, arch)
    renameSync(join(folder, 'package'), kept)
  } catch (error) {
    // Another process was faster.
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return kept
}
