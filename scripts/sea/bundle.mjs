import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../root.mjs'

/** Loaded when the executable is built: in the snapshot, or with Node in any case. Most calls hash or draw something. */
const loadedBefore = ['crypto', 'fs', 'module', 'os', 'path', 'timers/promises', 'url', 'util', 'v8']

/**
 * Other modules of Node are loaded when something is taken from them: a snapshot can't hold all of them, and most calls
 * need none. What was an import() is lazy by itself.
 */
const lazyRequires = (code) =>
  code.replace(/(?<!__toESM\()\brequire\("(node:[a-z_/]+)"\)/g, (whole, id) =>
    loadedBefore.includes(id.slice('node:'.length)) ? whole : `__lazy("${id}")`,
  )

/** Where the executable was built is nobody's business, and would make two builds differ. */
const preamble = [
  `'use strict';`,
  `Object.defineProperty(process,'pid',{value:1,configurable:true,enumerable:true});`,
  `process.execPath=process.argv[0]=process.argv[1]='/linkwright-cni';`,
  `const __meta={url:'file:///linkwright-cni'};`,
  `const __lazy=(id)=>{let all;return new Proxy({},{get:(_,name)=>(all??=require(id))[name]})};`,
].join('\n')

/**
 * cli/sea.ts and everything that it needs as one script.
 * @returns its text, and the folders of the packages that are in it
 */
export const bundleExecutable = async () => {
  const { build } = await import('esbuild')
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { outputFiles, metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['cli/sea.ts'],
    outfile: 'sea.js',
    write: false,
    metafile: true,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    // A single executable has no import().
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
  })
  const packages = Object.keys(metafile.inputs)
    .map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter((path) => path !== undefined)
  return {
    code: `${preamble}\n${lazyRequires(outputFiles[0].text)}`,
    packages: [...new Set(packages)].sort(),
  }
}
