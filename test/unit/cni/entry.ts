/** An executable with plugins that touch only files, for executable.test.ts. */
import { rmSync, writeFileSync } from 'node:fs'
import * as z from 'zod/mini'
import { runExecutable } from '../../../cli/executable.ts'
import { definePlugin } from '../../../cni/plugin.ts'
import { commonConf } from '../../../cni/schema.ts'
import { allVersions } from '../../../cni/types.ts'
import { address, pluginsOf } from './fake.ts'

const conf = z.object({
  ...commonConf,
  /** Made by ADD, removed by DEL and by undoing. */
  file: z.string(),
  /** What ADD does once the file is there. */
  next: z._default(z.enum(['succeed', 'fail', 'wait', 'kill', 'reject', 'warn']), 'succeed'),
})

const plugin = definePlugin({
  type: 'filer',
  kind: 'interface',
  versions: allVersions,
  conf,
  async add({ conf: { file, next }, undo, signal, log }) {
    undo.push(`remove ${file}`, () => rmSync(file))
    writeFileSync(file, '')
    if (next === 'fail') throw new Error('it failed')
    if (next === 'warn') log.warn('look out', { file: 'x' })
    if (next === 'kill') process.kill(process.pid, 'SIGTERM')
    if (next === 'reject') void Promise.reject(new Error('nobody waits for this'))
    if (next === 'wait') {
      process.stderr.write('waiting\n')
      const alive = setInterval(() => {}, 1_000)
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      clearInterval(alive)
    }
    return address
  },
  async check() {},
  async del({ conf: { file } }) {
    rmSync(file, { force: true })
  },
})

runExecutable(pluginsOf(plugin))
