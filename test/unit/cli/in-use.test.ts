import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { processesIn, seesAllProcesses } from '../../../cli/commands/install/in-use.ts'

/** A /proc with these processes. */
const proc = (processes: Record<string, { exe?: string; cmdline?: string; maps?: string }>): string => {
  const folder = mkdtempSync(join(tmpdir(), 'linkwright-proc-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [id, { exe, cmdline = '', maps = '' }] of Object.entries(processes)) {
    mkdirSync(join(folder, id))
    if (exe) symlinkSync(exe, join(folder, id, 'exe'))
    writeFileSync(join(folder, id, 'cmdline'), cmdline)
    writeFileSync(join(folder, id, 'maps'), maps)
  }
  return folder
}

const map = (path: string): string => `7f00-7f01 r-xp 00000000 08:01 1234 ${path}\n`

test('a process is known by its executable, its script, or what it has mapped', () => {
  const folder = proc({
    10: { exe: '/opt/l/1.0-a/linkwright-launcher' },
    11: { exe: '/usr/bin/node', cmdline: '/usr/bin/node\0/opt/l/1.0-a/linkwright-cni\0bridge\0' },
    12: { exe: '/usr/bin/node', maps: map('/usr/bin/node') + map('/opt/l/1.0-a/cli/linkwright.node') },
    13: { exe: '/opt/l/1.0-a/linkwright-cni (deleted)' },
    20: { exe: '/opt/l/1.0-ab/linkwright-cni', maps: map('/opt/l/1.0-ab/x') },
    21: { exe: '/usr/bin/vi', cmdline: 'vi\0/etc/opt/l/1.0-a/x\0' },
    22: {},
    self: { exe: '/opt/l/1.0-a/linkwright-cni' },
  })
  expect(processesIn('/opt/l/1.0-a', folder).sort()).toEqual([10, 11, 12, 13])
  expect(processesIn('/opt/l/1.0-ab', folder)).toEqual([20])
  expect(processesIn('/opt/l/2.0-c', folder)).toEqual([])
})

test('only the first process namespace sees all', () => {
  const folder = proc({ self: {} })
  mkdirSync(join(folder, 'self/ns'))
  expect(seesAllProcesses(folder)).toBe(false)
  symlinkSync('pid:[4026531836]', join(folder, 'self/ns/pid'))
  expect(seesAllProcesses(folder)).toBe(true)
  rmSync(join(folder, 'self/ns/pid'))
  symlinkSync('pid:[4026532999]', join(folder, 'self/ns/pid'))
  expect(seesAllProcesses(folder)).toBe(false)
})
