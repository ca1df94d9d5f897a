import { lazyRequires, scriptOptions } from '../bundle.mjs'

/**
 * Loaded when the executable is built: in the snapshot, or with Node in any case. Most calls hash or draw something; all
 * other modules a snapshot can't hold.
 */
const loadedBefore = ['crypto', 'fs', 'module', 'os', 'path', 'timers/promises', 'url', 'util', 'v8']

const lazy = `const __lazy=(id)=>{let all;return new Proxy({},{get:(_,name)=>(all??=require(id))[name]})};`
const meta = (name) => `const __meta={url:'file:///${name}'};`

/** One character more than Latin-1 has would make V8 keep all of a script with two bytes a character. */
const latin1 = (code) =>
  code.replace(/[^\0-\xff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** A function expression of `module`, `require` and `process`. */
const bundle = async (entry, name, loaded) => {
  const { build } = await import('esbuild')
  const { outputFiles, metafile } = await build({
    ...scriptOptions,
    entryPoints: [entry],
    outfile: 'sea.js',
    metafile: true,
    target: 'node24',
  })
  return {
    code: [
      `(function(module,require,process){'use strict';`,
      ...[meta(name), lazy, latin1(lazyRequires(outputFiles[0].text, loaded))],
      '})',
    ].join('\n'),
    packages: Object.keys(metafile.inputs)
      .map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
      .filter((path) => path !== undefined),
  }
}

/**
 * The two scripts of the executable, each with everything that it needs, and the trials of the first.
 * @returns the plugins' text, the commands', the trials', and the folders of the packages that are in the first two
 */
export const bundleExecutable = async () => {
  const plugins = await bundle('cli/sea.ts', 'linkwright-cni', loadedBefore)
  const commands = await bundle('cli/sea-commands.ts', 'linkwright-commands')
  const trial = await bundle('scripts/sea/trial/index.cjs', 'trial', loadedBefore)
  return {
    plugins: plugins.code,
    commands: commands.code,
    trial: trial.code,
    packages: [...new Set([...plugins.packages, ...commands.packages])].sort(),
  }
}
