import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'

const addon = fileURLToPath(new URL('../../../build/Release/linkwright.node', import.meta.url))

/** Runs a script in a Node of its own, where `native` is the addon. At most 20 seconds. @param flags of Node */
export const startInNode = (script: string, ...flags: readonly string[]): SpawnSyncReturns<string> => {
  const prelude = `
const { readFileSync } = require('node:fs')
const native = require(${JSON.stringify(addon)})
const tell = (value) => console.log(JSON.stringify(value))`
  return spawnSync(process.execPath, [...flags, '-e', `${prelude}\n${script}`], {
    encoding: 'utf8',
    timeout: 20_000,
    killSignal: 'SIGKILL',
  })
}

/** The same. @returns what it has given to `tell` */
export const inNode = (script: string, ...flags: readonly string[]): unknown => {
  const { status, stdout, stderr } = startInNode(script, ...flags)
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout) as unknown
}
