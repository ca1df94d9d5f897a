/** When an address is given back: with its interface still there, or not. */
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { definePlugin } from '../../../cni/plugin.ts'
import { allVersions, type JsonObject } from '../../../cni/types.ts'
import { withDevice } from './host-device.ts'
import { wired } from './master.ts'
import { errorOf, links, type Node, node, unheard, vethsOf } from './node.ts'

/** Assigns addresses, and writes down what there is when they come back. */
const witness = (it: Node, needsInterface: boolean, look: () => Promise<boolean>): boolean[] => {
  const seen: boolean[] = []
  const note = async (): Promise<void> => void seen.push(await look())
  const plugin = definePlugin({
    ...{ type: 'witness', kind: 'ipam', versions: allVersions, conf: z.object({}), needsInterface },
    add: async ({ undo }) => {
      undo.push('give the address back', note)
      return { ips: [{ address: '10.9.0.7/24', gateway: '10.9.0.1' }] }
    },
    check: async () => {},
    del: note,
    gc: note,
  })
  it.options = { plugins: new Map([...(it.options.plugins ?? it.plugins), [plugin.type, plugin]]) }
  return seen
}

interface Kind {
  readonly conf: JsonObject
  readonly host: () => Promise<Node>
}

const kinds: Readonly<Record<string, Kind>> = {
  bridge: { conf: { type: 'bridge', bridge: 'cni0', isGateway: true }, host: node },
  ptp: { conf: { type: 'ptp' }, host: node },
  macvlan: { conf: { type: 'macvlan', master: 'eth1' }, host: async () => (await wired()).node },
  tap: { conf: { type: 'tap' }, host: node },
  'host-device': {
    conf: { type: 'host-device', device: 'hd0' },
    host: async () => (await withDevice()).node,
  },
}

const cases = Object.entries(kinds).flatMap(([type, kind]) =>
  [false, true].map((needsInterface) => ({ ...kind, type, needsInterface })),
)

describe.each(cases)('$type, IPAM that needs the interface: $needsInterface', (kind) => {
  const { type, host, conf, needsInterface } = kind

  const prepare = async () => {
    const it = await host()
    const container = await it.host.container('c1')
    const seen = witness(it, needsInterface, async () =>
      (await links(container)).some(({ ifname }) => ifname === 'eth0'),
    )
    return { it, seen, own: { ...conf, ipam: { type: 'witness' } }, call: { container } }
  }

  test('DEL', async () => {
    const { it, seen, own, call } = await prepare()
    await it.add(own, call)
    await it.del(own, call)
    expect(seen).toEqual([needsInterface])
  })

  test('an ADD that is undone', async () => {
    const { it, seen, own, call } = await prepare()
    await errorOf(it.add(own, { ...call, deliver: unheard }))
    // ptp asks for addresses before it makes anything.
    expect(seen).toEqual([needsInterface && type !== 'ptp'])
  })
})

test.each([false, true])('GC of pairs, IPAM that needs the interface: %s', async (needsInterface) => {
  const it = await node()
  const seen = witness(it, needsInterface, async () => (await vethsOf(it.host)).length > 0)
  const own: JsonObject = { type: 'ptp', ipam: { type: 'witness' } }
  await it.add(own, { container: await it.host.container('c1') })
  await it.call('GC', { ...own, 'cni.dev/valid-attachments': [] })
  expect(seen).toEqual([needsInterface])
})
