import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './root.mjs'
import { cliTrials, cniTrials } from './trials.mjs'

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const cni = join(root, 'dist/cni')
const cli = join(root, 'dist/cli')

/**
 * How a bundle finds its interpreter. A runtime's environment is for the runtime: NODE_OPTIONS could load foreign code
 * into a plugin that runs as root, and NODE_EXTRA_CA_CERTS costs 37 ms a start. The Node that made the bundle comes
 * first, because the PATH of a service or of sudo need not have one; after it, where a folder was copied to another
 * machine, whichever `node` the PATH has. `env -S` is in coreutils since 8.30.
 */
const shebang = () => {
  const here = dirname(process.execPath)
  // `env -S` has its own quoting, and the kernel reads no more than 255 bytes of the line.
  const path = /^[\w./+-]{1,120}$/.test(here) ? `PATH=${here}:\${PATH} ` : ''
  return `#!/usr/bin/env -S -u NODE_OPTIONS -u NODE_EXTRA_CA_CERTS ${path}node`
}

/** Replaces a file in one step: somebody may be executing the old one. */
const replace = (path, write) => {
  mkdirSync(dirname(path), { recursive: true })
  const next = `${path}.${process.pid}`
  rmSync(next, { force: true })
  write(next)
  renameSync(next, path)
}

/** Loaded with Node in any case, so that waiting for their first use saves nothing. */
const loadedAnyway = ['fs', 'path', 'url']

/**
 * Modules of Node are loaded when something is taken from them: crypto and what it needs cost 4 ms, and most calls need
 * none. What was an import() is lazy by itself, and esbuild copies the module's names, which a stand-in does not have.
 * @param loaded modules that are there in any case
 */
export const lazyRequires = (code, loaded = loadedAnyway) =>
  code.replace(/(?<!__toESM\()\brequire\("(node:[a-z_/]+)"\)/g, (whole, id) =>
    loaded.includes(id.slice('node:'.length)) ? whole : `__lazy("${id}")`,
  )

/** What the bundled script stands in: a function that scripts/launcher.cjs calls. */
const wrap = (code) =>
  [
    `(function(require,__filename){'use strict';`,
    // CommonJS has no import.meta.
    `const __meta={get url(){return require('node:url').pathToFileURL(__filename).href}};`,
    `const __lazy=(id)=>{let all;return new Proxy({},{get:(_,name)=>(all??=require(id))[name]})};`,
    lazyRequires(code),
    '})',
  ].join('\n')

/** Keeps the compiled code of a script: of the functions that its trials came by. */
const compile = (script, cache, trials) =>
  trials(({ args, env, input = '{}', prefix = [] }) => {
    const command = [...prefix, process.execPath, join(root, 'scripts/warm-up.cjs'), script, cache, ...args]
    const { status, stdout, stderr } = spawnSync(command[0], command.slice(1), {
      env,
      input,
      encoding: 'utf8',
    })
    if (status !== 0)
      throw new Error(`${script} ${args.join(' ')} does not run (${status}):\n${stdout}${stderr}`)
    return stdout
  })

/** For esbuild: a CommonJS script for Node that is not loaded by Node's own loader. */
export const scriptOptions = {
  absWorkingDir: root,
  write: false,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  // Outside of that loader there is no import().
  supported: { 'dynamic-import': false },
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: {
    'import.meta.url': '__meta.url',
    __LINKWRIGHT_ADDON__: '"./linkwright.node"',
    __LINKWRIGHT_VERSION__: JSON.stringify(version),
  },
  logLevel: 'warning',
}

/**
 * One program in `folder`: `executable`, which starts `name`.script.js with its compiled code in `name`.script.cache.
 * @param trials calls a function with each run that is worth being compiled for
 */
const bundle = async (entry, folder, name, executable, trials) => {
  const { build } = await import('esbuild')
  const { outputFiles } = await build({
    ...scriptOptions,
    entryPoints: [entry],
    outfile: join(folder, executable),
    target: 'node20.19',
  })
  copyAddon(folder)
  const script = join(folder, `${name}.script.js`)
  replace(script, (path) => writeFileSync(path, wrap(outputFiles[0].text)))
  replace(script.replace(/js$/, 'cache'), (path) => compile(script, path, trials))
  const launcher = readFileSync(join(root, 'scripts/launcher.cjs'), 'utf8').replaceAll('__NAME__', name)
  replace(join(folder, executable), (path) =>
    writeFileSync(path, `${shebang()}\n${launcher}`, { mode: 0o755 }),
  )
}

/** The addon, beside what loads it. */
export const copyAddon = (folder) =>
  replace(join(folder, 'linkwright.node'), (path) =>
    copyFileSync(join(root, 'build/Release/linkwright.node'), path),
  )

/** Types of every plugin and IPAM plugin, as the built library has them. */
const types = async () => {
  const { plugins } = await import(pathToFileURL(join(root, 'dist/lib/plugins/index.js')).href)
  if (plugins.size === 0) throw new Error('the built library has no plugin')
  return [...plugins.keys()].sort()
}

/** The standalone program, the launcher, and `bin/<type>`, links to that: it learns its type from the name. */
export const bundleCni = async () => {
  await bundle('cli/cni.ts', cni, 'linkwright-cni', 'linkwright-cni', cniTrials)
  // A name without .cjs at its end.
  replace(join(cni, 'package.json'), (path) => writeFileSync(path, '{"type":"commonjs"}\n'))
  replace(join(cni, 'linkwright-launcher'), (path) =>
    copyFileSync(join(root, 'build/launcher/linkwright-launcher'), path),
  )
  const names = await types()
  const bin = join(cni, 'bin')
  rmSync(bin, { recursive: true, force: true })
  mkdirSync(bin)
  for (const type of names) symlinkSync('../linkwright-launcher', join(bin, type))
  // What was the executable before there was a launcher.
  rmSync(join(cni, 'linkwright-cni.cjs'), { force: true })
  return names
}

/** The command line. */
export const bundleCli = () => bundle('cli/linkwright.ts', cli, 'linkwright', 'linkwright.cjs', cliTrials)
