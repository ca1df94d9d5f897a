import { lazyRequires, scriptOptions } from '../bundle.mjs'

/**
 * Loaded when the executable is built: in the snapshot, or with Node in any case. Most calls hash or draw something; all
 * other modules a snapshot can't hold.
 */
const loadedBefore = ['crypto', 'fs', 'module', 'os', 'path', 'timers/promises', 'url', 'util', 'v8']

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
  const { outputFiles, metafile } = await build({
    ...scriptOptions,
    entryPoints: ['cli/sea.ts'],
    outfile: 'sea.js',
    metafile: true,
    target: 'node24',
  })
  const packages = Object.keys(metafile.inputs)
    .map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter((path) => path !== undefined)
  return {
    code: `${preamble}\n${lazyRequires(outputFiles[0].text, loadedBefore)}`,
    packages: [...new Set(packages)].sort(),
  }
}
