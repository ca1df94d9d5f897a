/**
 * Builds what is installed on hosts without Node (`npm run dist`): a folder with the launcher, the single executable
 * and links for every plugin, packed as dist/linkwright-<version>-linux-<arch>.tar.xz with its SHA-256 beside it.
 * docs/packaging.md says what is in it, and what makes two builds the same.
 *
 *   node scripts/dist.mjs [--arch x64|arm64] [--output FOLDER] [--level 0-9] [--form snapshot|code-cache|plain]
 *   node scripts/dist.mjs --folder
 *
 * --output is where the archive goes (default dist); --level is xz's (default 6); --form other than a start-up snapshot
 * is for measurements. --folder packs nothing: the folder for this machine is kept in build/archive, where the bench
 * finds it, and is made anew only where something has changed.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from './root.mjs'
import { runNode } from './run-node.mjs'
import { archive, sourceDate } from './sea/archive.mjs'
import { fillFolder, keptFolder } from './sea/folder.mjs'
import { architectures } from './sea/node-package.mjs'

const options = () => {
  const { values } = parseArgs({
    options: {
      arch: { type: 'string', default: process.arch },
      output: { type: 'string', default: join(root, 'dist') },
      level: { type: 'string', default: '6' },
      form: { type: 'string', default: 'snapshot' },
      folder: { type: 'boolean', default: false },
    },
  })
  if (!architectures.includes(values.arch))
    throw new Error(`--arch ${values.arch}: there are ${architectures.join(', ')}`)
  if (!/^\d$/.test(values.level)) throw new Error(`--level ${values.level}: there are 0 to 9`)
  if (values.folder && (values.arch !== process.arch || values.form !== 'snapshot'))
    throw new Error('--folder is for this machine, with a start-up snapshot')
  return values
}

const main = async () => {
  const start = performance.now()
  const { arch, output, level, form, folder } = options()
  if (folder) {
    runNode('scripts/build.mjs')
    console.log(await keptFolder())
    return
  }
  const date = sourceDate()
  runNode('scripts/build.mjs')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const name = `linkwright-${version}-linux-${arch}`
  const work = join(root, `build/dist-${arch}.${process.pid}`)
  const path = join(resolve(output), `${name}.tar.xz`)
  try {
    mkdirSync(join(work, name), { recursive: true })
    await fillFolder(join(work, name), { arch, form })
    mkdirSync(resolve(output), { recursive: true })
    const hash = archive(join(work, name), path, date, level)
    console.log(`built ${path} in ${Math.round(performance.now() - start)} ms\nSHA-256 ${hash}`)
  } finally {
    if (existsSync(work)) rmSync(work, { recursive: true })
  }
}

try {
  await main()
} catch (error) {
  console.error(`dist: ${error.message}`)
  process.exitCode = 1
}
