/**
 * `npm start`: on a fresh clone installs and builds, then runs `linkwright demo`: real attachments on throwaway
 * namespaces. Needs root.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root } from './root.mjs'

if (process.geteuid?.() !== 0) {
  console.error('npm start makes network namespaces and needs root: sudo npm start')
  process.exit(1)
}
for (const args of [[join(root, 'scripts/build.mjs')], [join(root, 'dist/cli/linkwright.cjs'), 'demo']]) {
  const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
