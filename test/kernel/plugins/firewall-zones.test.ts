/** Whose a source of firewalld's is: late DELs, zones that the configuration has left, sources that others removed. */
import { beforeAll, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { firewalldOf } from '../../../plugins/firewall/firewalld.ts'
import { binDirs, runPlugin } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import { filterRules, firewallConf, resultWith } from './firewall.ts'
import { type FirewalldHost, firewalldHost } from './firewalld-host.ts'

let there: FirewalldHost
let container: Container

beforeAll(async () => {
  there = await firewalldHost()
  container = await there.host.container()
  await there.startFirewalld()
})

const source = '10.1.2.3/32'
const call = async (command: string, containerId: string, more: JsonObject = {}): Promise<void> => {
  const prevResult = { ...resultWith(['10.1.2.3/24']), cniVersion: '1.1.0' }
  const conf = { cniVersion: '1.1.0', name: 'net', ...firewallConf(), prevResult, ...more }
  const { error } = await runPlugin({
    ...{ host: there.host, binDir: binDirs.ours, type: 'firewall', command, conf },
    ...{ containerId, netns: container },
  })
  expect(error).toBeNull()
}

const zone = async (): Promise<string | null> => {
  const firewalld = await firewalldOf({ socket: there.socket })
  try {
    return (await firewalld?.zoneOfSource(source)) ?? null
  } finally {
    firewalld?.close()
  }
}
const owners = async (): Promise<number> =>
  (await filterRules(there.host)).filter((line) => line.startsWith('-A LINKWRIGHT-OWNERS')).length

test("a late DEL leaves the source to the address's next owner", async () => {
  await call('ADD', 'a')
  await call('ADD', 'b')
  expect(await owners()).toBe(2)
  await call('DEL', 'a')
  expect(await zone()).toBe('trusted')
  await call('CHECK', 'b')
  await call('DEL', 'b')
  expect([await zone(), await owners()]).toEqual([null, 0])
})

test('a DEL finds the zone that the configuration has left, without a result', async () => {
  await call('ADD', 'a', { firewalldZone: 'internal' })
  expect(await zone()).toBe('internal')
  await call('DEL', 'a', { prevResult: null })
  expect([await zone(), await owners()]).toEqual([null, 0])
})

test("after Go's DEL, which knows no owners, the source is the next one's alone", async () => {
  await call('ADD', 'a')
  await there.firewallCmd('--zone=trusted', `--remove-source=${source}`)
  await call('ADD', 'b')
  expect(await owners()).toBe(1)
  await call('DEL', 'b')
  expect([await zone(), await owners()]).toEqual([null, 0])
})

test('GC', async () => {
  await call('ADD', 'a')
  await call('GC', 'a', { 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }] })
  expect(await zone()).toBe('trusted')
  await call('GC', 'a', { 'cni.dev/valid-attachments': [] })
  expect([await zone(), await owners()]).toEqual([null, 0])
})
