/**
 * Packs the npm package and installs it into an empty project, as somebody gets it: what needs a network, apart from the
 * tests, which have none.
 *
 *   node scripts/testing/package.mjs FOLDER     makes FOLDER/pack.json (what npm says of the tarball) and FOLDER/project
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

const [folder] = process.argv.slice(2)
const project = join(folder, 'project')

/** npm is told by its environment where packages come from; what an `npm test` above has said besides is not ours. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_/.test(name) || name.startsWith('npm_config_')),
)

const npm = (cwd, ...args) => {
  const { status, stdout, stderr, error } = spawnSync('npm', args, { cwd, env, encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`npm ${args.join(' ')}: exit ${status}\n${stderr}${stdout}`)
  return stdout
}

try {
  const said = npm(root, 'pack', '--json', '--pack-destination', folder)
  const [made] = JSON.parse(said.slice(said.indexOf('[')))
  writeFileSync(join(folder, 'pack.json'), JSON.stringify(made))
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{"name":"empty","private":true,"type":"module"}')
  const options = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--omit=dev']
  npm(project, 'install', ...options, join(folder, made.filename))
} catch (error) {
  console.error(`package: ${error.message}`)
  process.exitCode = 1
}
