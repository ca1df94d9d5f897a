import { lazyRequires, scriptOptions } from '../bundle.mjs'

/**
 * Loaded when the executable is built: in the snapshot, or with Node in any case. Most calls hash or draw something; all
 * other modules a snapshot can't hold.
 */
const loadedBefore = ['crypto', 'fs', 'module', 'os', 'path', 'timers/promises', 'url', 'util', 'v8']

const lazy = `const __lazy=(id)=>{let all;return new Proxy({},{get:(_,name)=>(all??=require(id))[name]})};`
const meta = (name) => `const __meta={url:'file:///${name}'};`

/** Where the executable was built is nobody's business, and would make two builds differ. */
const anonymous = [
  `Object.defineProperty(process,'pid',{value:1,configurable:true,enumerable:true});`,
  `process.execPath=process.argv[0]=process.argv[1]='/linkwright-cni';`,
]

/** One character more than Latin-1 has would make V8 keep all of a script with two bytes a character. */
const latin1 = (code) =>
  code.replace(/[^\0-\xff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

const bundle = async (entry, preamble, loaded) => {
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build({
    ...scriptOptions,
    entryPoints: [entry],
    outfile: 'sea.js',
    metafile: true,
    target: 'node24',
  })
  return {
    code: [`'use strict';`, ...preamble, latin1(lazyRequires(outputFiles[0].text, loaded))].join('\n'),
    packages: Object.keys(metafile.inputs)
      .map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
      .filter((path) => path !== undefined),
  }
}

/**
 * The two scripts of the executable, each with everything that it needs.
 * @returns the plugins' text, the commands', and the folders of the packages that are in them
 */
export const bundleExecutable = async () => {
  const plugins = await bundle('cli/sea.ts', [...anonymous, meta('linkwright-cni'), lazy], loadedBefore)
  const commands = await bundle('cli/sea-commands.ts', [meta('linkwright-commands'), lazy])
  return {
    plugins: plugins.code,
    commands: commands.code,
    packages: [...new Set([...plugins.packages, ...commands.packages])].sort(),
  }
}
