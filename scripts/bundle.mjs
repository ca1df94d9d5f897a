import {
  chmodSync,
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

const bundle = async (entry, outfile) => {
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    write: false,
    metafile: true,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    // CommonJS has no import.meta. The addon lies beside the bundle, or above bin/ where links were copied as files.
    define: {
      'import.meta.url': '__importMetaUrl',
      __LINKWRIGHT_ADDON__: '__addon',
      __LINKWRIGHT_VERSION__: JSON.stringify(version),
    },
    banner: {
      js: [
        shebang(),
        // Before esbuild's own, which is a directive only where it comes first.
        `'use strict'`,
        `const __importMetaUrl=require('node:url').pathToFileURL(__filename).href`,
        `const __addon=require('node:fs').existsSync(__dirname+'/linkwright.node')?'./linkwright.node':'../linkwright.node'`,
      ].join('\n'),
    },
    logLevel: 'warning',
  })
  replace(outfile, (path) => {
    writeFileSync(path, outputFiles[0].contents)
    chmodSync(path, 0o755)
  })
  copyAddon(dirname(outfile))
  return metafile
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

/** The CNI executable and `bin/<type>`, which are links to it: it learns from its own name what it is asked to be. */
export const bundleCni = async () => {
  await bundle('cli/cni.ts', join(cni, 'linkwright-cni.cjs'))
  // Links that were copied as files have no .cjs at their end.
  replace(join(cni, 'package.json'), (path) => writeFileSync(path, '{"type":"commonjs"}\n'))
  const names = await types()
  const bin = join(cni, 'bin')
  rmSync(bin, { recursive: true, force: true })
  mkdirSync(bin)
  for (const type of names) symlinkSync('../linkwright-cni.cjs', join(bin, type))
  return names
}

/** The command line. */
export const bundleCli = () => bundle('cli/linkwright.ts', join(cli, 'linkwright.cjs'))
