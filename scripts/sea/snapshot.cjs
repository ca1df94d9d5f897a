'use strict'
// What runs when a start-up snapshot is made, in a folder that has plugins.js and trial.js. The script is run once for
// trials, and once more for good: see scripts/sea/trial.
const { mkdirSync, readFileSync, writeFileSync } = require('node:fs')
const { startupSnapshot } = require('node:v8')
const { runInThisContext, Script } = require('node:vm')

// Where and by what the executable was built is nobody's business, and would make two builds differ.
Object.defineProperty(process, 'pid', { value: 1, configurable: true, enumerable: true })
process.execPath = process.argv[0] = process.argv[1] = '/linkwright-cni'

const folder = '/proc/self/cwd'
const read = (name) => readFileSync(`${folder}/${name}`, 'latin1')
let script = new Script(read('plugins.js'), { filename: '/linkwright-cni' })

const run = (require, process) => {
  const module = { exports: {} }
  script.runInThisContext()(module, require, process)
  return module.exports
}

const main = async () => {
  const trial = { exports: {} }
  runInThisContext(read('trial.js'))(trial, require, process)
  mkdirSync(`${folder}/networks`)
  const names = new Set(Reflect.ownKeys(globalThis))
  // What runs must not depend on how long it takes.
  const { now } = Date
  Date.now = () => 1e12
  const failures = await trial.exports.tryOut(run, `${folder}/networks`)
  Date.now = now
  // zod keeps a registry there, which would keep a whole run.
  for (const name of Reflect.ownKeys(globalThis)) if (!names.has(name)) delete globalThis[name]
  writeFileSync(`${folder}/failures`, failures.join('\n'))
  // Node hands over what stat(2) says in these, and keeps it.
  const { statValues, bigintStatValues } = process.binding('fs')
  statValues.fill(0)
  bigintStatValues.fill(0n)
  startupSnapshot.setDeserializeMainFunction(run(require, process).start)
  // A snapshot can't hold it; what it was compiled to is held by its functions.
  script = undefined
}

main()
