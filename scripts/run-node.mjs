import { spawnSync } from 'node:child_process'
import { root } from './root.mjs'

/** Runs a script of the repository with this Node. @throws Error where it fails */
export const runNode = (...args) => {
  const { status, signal, error } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) throw error
  if (status !== 0) throw new Error(`${args.join(' ')} failed (${signal ?? `exit ${status}`})`)
}
