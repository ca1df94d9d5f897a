import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'

const addon = fileURLToPath(new URL('../../../build/Release/linkwright.node', import.meta.url))

/**
 * Runs a script in a Node of its own, where `native` is the addon.
 * @param flags of Node
 * @returns what it has given to `tell`
 */
export const inNode = (script: string, ...flags: readonly string[]): unknown => {
  const prelude = `
const { readFileSync } = require('node:fs')
const native = require(${JSON.stringify(addon)})
const tell = (value) => console.log(JSON.stringify(value))`
  const { status, stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', `${prelude}\n${script}`], {
    encoding: 'utf8',
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout) as unknown
}
