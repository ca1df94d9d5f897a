import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './root.mjs'

const packagesOf = (path) => JSON.parse(readFileSync(path, 'utf8')).packages

/** What npm would change: a package that is missing, or there in another version than the lock file says. */
const isStale = () => {
  const installedList = join(root, 'node_modules/.package-lock.json')
  if (!existsSync(installedList)) return true
  const installed = packagesOf(installedList)
  return Object.entries(packagesOf(join(root, 'package-lock.json'))).some(([path, wanted]) => {
    if (path === '') return false
    const found = installed[path]
    // Packages for other platforms are optional, and rightly absent.
    if (!found) return !wanted.optional
    return found.version !== wanted.version || found.integrity !== wanted.integrity
  })
}

/**
 * Installs node_modules as package-lock.json has it, if it is not so already. Install scripts are not run: nothing that
 * the build uses needs one.
 */
export const ensureDependencies = () => {
  if (!isStale()) return
  console.log('installing node_modules (npm ci)')
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund']
  // Under `npm run` this names npm's own script, which need not be the npm in PATH.
  const script = process.env.npm_execpath
  const [file, rest] = script?.endsWith('.js') ? [process.execPath, [script, ...args]] : ['npm', args]
  const { status, signal, error } = spawnSync(file, rest, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`npm ci failed (${signal ?? `exit ${status}`})`)
}
