/** host-device with hardware, which outlives a container's namespace: the kernel gives it to the machine's own one. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Action, dispatch } from '../../../cni/dispatch.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { type Link, link, Netns } from '../../../netlink/index.ts'
import { defineHostDevice } from '../../../plugins/host-device/index.ts'
import { errorOf } from '../../kernel/plugins/node.ts'
import { space } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

/** The card of scripts/vm. */
const MAC = '52:54:00:00:00:01'
const machine = Netns.open('/proc/self/ns/net')
const notes = mkdtempSync(join(tmpdir(), 'linkwright-notes-'))
afterAll(() => rmSync(notes, { recursive: true }))
const plugin = defineHostDevice({ notes })
const conf: JsonObject = { cniVersion: '1.1.0', name: 'net', type: 'host-device', device: 'nic0' }

const call = async (verb: Action, netnsPath: string, more: JsonObject = {}): Promise<Result | undefined> => {
  const own = { ...conf, ...more }
  const invocation = { verb, conf: own, containerId: 'cid', ifName: 'eth0', netnsPath }
  const added = await dispatch(plugin, invocation, { plugins: new Map([[plugin.type, plugin]]) })
  return added?.result
}

/** Where the card is on the machine, and like what. */
const card = async (): Promise<Partial<Link> | null> => {
  using connection = machine.connect()
  const found = (await connection.run(link.list())).find(({ address }) => address === MAC)
  if (!found) return null
  const { name, alias, mtu, up } = found
  return { name, alias, mtu, up }
}

const fresh = { name: 'nic0', alias: 'to the lab', mtu: 1400, up: true }

const prepare = async (): Promise<void> => {
  using connection = machine.connect()
  const { index } = (await connection.run(link.list())).find(({ address }) => address === MAC)!
  await connection.run(link.set(index, { up: false }))
  await connection.run(link.set(index, { ...fresh, up: undefined }))
  await connection.run(link.set(index, { up: true }))
}

// It is the machine's own network that is changed.
const here = test.skipIf(!process.env.VM)

beforeAll(async () => {
  if (!process.env.VM) return
  spawnSync('modprobe', ['virtio_net'])
  await eventually('the card is there', card)
  await prepare()
})

here('by its PCI address, there and back', async () => {
  using connection = machine.connect()
  const { parentDevice } = await connection.run(link.get('nic0'))
  const path = spawnSync('readlink', ['-f', `/sys/bus/virtio/devices/${parentDevice}`], { encoding: 'utf8' })
  const pciID = path.stdout.trim().split('/').at(-2)!
  const container = await space()
  const more = { device: '', pciBusID: pciID }
  const result = await call('ADD', container.path, more)
  expect(result?.interfaces).toEqual([{ name: 'eth0', mac: MAC, mtu: 1400, sandbox: container.path, pciID }])
  expect(await card()).toBeNull()
  await call('DEL', container.path, more)
  expect(await card()).toEqual(fresh)
})

here('the namespace ends: DEL waits for the card, and gives it its name', async () => {
  const ended = await space()
  await call('ADD', ended.path)
  await ended.close()
  await call('DEL', ended.path)
  expect(await card()).toEqual(fresh)
  // Somebody is in there still, but nobody can tell where that is.
  const hidden = await space()
  await call('ADD', hidden.path)
  const del = call('DEL', '')
  await hidden.close()
  await del
  expect(await card()).toEqual(fresh)
  expect(readdirSync(notes)).toEqual([])
})

here('a namespace that goes on: the card is not forgotten', async () => {
  const hidden = await space()
  await call('ADD', hidden.path)
  const error = await errorOf(call('DEL', ''))
  expect(error).toMatchObject({ code: 11, msg: 'nic0 is in a network namespace that can not be reached' })
  expect(readdirSync(notes)).toHaveLength(1)
  await hidden.close()
  await eventually('the kernel gives it back', card)
  await call('GC', '', { 'cni.dev/valid-attachments': [] })
  expect(await card()).toEqual(fresh)
  expect(readdirSync(notes)).toEqual([])
})
