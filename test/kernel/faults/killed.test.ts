/** SIGKILL at every call of an ADD that changes anything; then DEL, as the runtime does it. */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { eventually } from '../../support/wait.ts'
import { type Call, type Patient, patient } from './executed.ts'
import { killEveryCallOfAdd, killEveryCallOfDel, type Sweep } from './sweep.ts'

/** The bridge outlives its attachments. */
const sweep = (it: Patient, least: number): Sweep => ({ it, least, left: () => it.stateBesideBridge() })

test('an ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 180_000,
}, async () => {
  // A veth pair, addresses on both sides, two tables, two reservations.
  await killEveryCallOfAdd(sweep(await patient(), 30), [
    /veth/,
    /networks\/net\/10\./,
    /networks\/net\/fd00/,
    /ip saddr/,
    /ether saddr/,
    /default via/,
  ])
})

test('a DEL that is killed anywhere can be done again', { timeout: 120_000 }, async () => {
  await killEveryCallOfDel(sweep(await patient(), 5))
})

const byIptables = { conf: { ipMasqBackend: 'iptables' }, children: false } as const

/** Programs of iptables that work on the host. */
const runningPrograms = ({ host }: Patient): string[] => {
  const netns = `net:[${statSync(host.path).ino}]`
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^(ip6?|x)tables/.test(readFileSync(`/proc/${pid}/comm`, 'utf8')) &&
        readlinkSync(`/proc/${pid}/ns/net`) === netns
      )
    } catch {
      // No process, or one that has just ended.
      return false
    }
  })
}

/** Where iptables is executed: before each program, when it has done its work, and at what changes anything after. */
test('by iptables: an ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 120_000,
}, async () => {
  const it = await patient(byIptables)
  const fresh = await it.state()
  const traced = await it.trace(['clone', 'clone3', 'vfork', 'wait4', 'pwrite64', 'sendto'])
  await it.run('DEL')
  await it.reset()
  const isStart = ({ name }: Call): boolean => /^(clone3?|vfork)$/.test(name)
  const calls = traced.slice(traced.findIndex(isStart))
  // For each family: the chain, two rules in it, the one that leads there; each is asked for before it is made.
  expect(calls.filter(isStart).length).toBeGreaterThanOrEqual(16)
  const reached = new Set<string>()
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    const killed = await it.tampered(call, 'signal=SIGKILL')
    expect(killed.signal, where).toBe('SIGKILL')
    await eventually('the program that was running ends', () => runningPrograms(it).length === 0)
    const left = (await it.state()).filter((line) => line.includes('CNI-'))
    reached.add(left.map((line) => line.trim()).join('\n'))
    const del = await it.run('DEL')
    expect({ where, status: del.status, error: del.error }).toEqual({ where, status: 0, error: null })
    expect(await it.stateBesideBridge(), where).toEqual(fresh)
    await it.reset()
  }
  // Nothing, and for each family the chain without and with the rule that leads to it.
  expect(reached.size).toBeGreaterThanOrEqual(5)
  const add = await it.run('ADD')
  expect(add.error).toBeNull()
  expect((await it.run('CHECK', { prevResult: add.result })).error).toBeNull()
})

test('by iptables: a DEL that is killed anywhere can be done again', { timeout: 60_000 }, async () => {
  await killEveryCallOfDel(sweep(await patient(byIptables), 5))
})
