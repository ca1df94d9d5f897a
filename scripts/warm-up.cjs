// Runs a bundled script, and when it ends keeps what V8 has compiled of it, with what CACHE held before:
//   node scripts/warm-up.cjs SCRIPT.js CACHE [ARG]...
const { existsSync, readFileSync, writeFileSync } = require('node:fs')
const { Script } = require('node:vm')

const [filename, cache] = process.argv.splice(2, 2)
const script = new Script(readFileSync(filename, 'latin1'), {
  filename,
  cachedData: existsSync(cache) ? readFileSync(cache) : undefined,
})
process.on('exit', () => writeFileSync(cache, script.createCachedData()))
script.runInThisContext()(require, filename)
