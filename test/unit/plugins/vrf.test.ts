/** vrf: what it asks of a kernel of make-believe. */
import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import type { Attachment } from '../../../cni/plugin.ts'
import { parseConf, parseConfLenient } from '../../../cni/schema.ts'
import type { JsonObject, Result } from '../../../cni/types.ts'
import { UndoStack } from '../../../cni/undo.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { routeLayout } from '../../../netlink/route/layout.ts'
import { ruleLayout } from '../../../netlink/rule.ts'
import { vrf } from '../../../plugins/index.ts'
import { type FakeHandler, FakeKernel, type FakeObject, fakeObject } from '../../support/fake-kernel.ts'

const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  newAddress: 20,
  getAddress: 22,
  newRoute: 24,
  getRoute: 26,
}
const RTM_NEWRULE = 32
const RTM_GETRULE = 34
const ENODEV = 19
const ETHER = 1
const AF_INET = 2
const AF_INET6 = 10
const UP = 1

interface FakeLink {
  readonly index: number
  readonly name: string
  readonly master?: number
  readonly alias?: string
  /** Of a VRF. */
  readonly table?: number
}

const toObject = ({ index, name, master, alias, table }: FakeLink): FakeObject =>
  fakeObject(
    RTM.newLink,
    linkLayout,
    { index, type: ETHER, flags: UP },
    {
      ...{ ifname: name, mtu: 1500, master, ifalias: alias },
      linkinfo: table === undefined ? undefined : { own: { kind: 'vrf', data: { table } } },
    },
  )

interface Scene {
  readonly links: readonly FakeLink[]
  readonly routes?: readonly FakeObject[]
  readonly rules?: readonly FakeObject[]
}

/** A kernel of these links that changes nothing and says yes to everything. */
const kernelOf = ({ links, routes = [], rules = [] }: Scene): FakeKernel => {
  const getLink: FakeHandler = (request) => {
    const { index, attributes } = request.as(linkLayout)
    if (request.flags & 0x300) return { objects: links.map(toObject) }
    const found = links.find((one) => one.index === index || one.name === attributes.ifname)
    return found ? { objects: [toObject(found)] } : { errno: ENODEV }
  }
  return new FakeKernel({
    [RTM.getLink]: getLink,
    [RTM.getAddress]: () => ({ objects: [] }),
    [RTM.getRoute]: () => ({ objects: routes }),
    [RTM_GETRULE]: () => ({ objects: rules }),
    [RTM.newLink]: () => ({}),
    [RTM.delLink]: () => ({}),
    [RTM.newRoute]: () => ({}),
  })
}

const prevResult: Result = { interfaces: [{ name: 'eth0', sandbox: '/run/netns/x' }], ips: [], routes: [] }

const attach = (scene: Scene, conf: JsonObject, lenient = false) => {
  const kernel = kernelOf(scene)
  const rawConf = { name: 'net', ...conf }
  let locks = 0
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const attachment = {
    conf: lenient ? parseConfLenient(vrf.conf, rawConf).conf : parseConf(vrf.conf, rawConf, 'vrf'),
    ...{ containerId: 'cid', ifName: 'eth0', netnsPath: '/run/netns/x', network: 'net', prevResult, log },
    ...{ container: kernel.connect(), undo: new UndoStack(), signal: new AbortController().signal },
    netns: {
      lock: async () => {
        locks++
        return { release: () => void locks-- }
      },
    },
  } as unknown as Attachment<never>
  return { kernel, attachment, locks: () => locks }
}

const changes = (kernel: FakeKernel) =>
  kernel.requests
    .filter(({ type }) => type === RTM.newLink || type === RTM.delLink)
    .map((request) => {
      const { index, attributes } = request.as(linkLayout)
      const { ifname, master, ifalias, linkinfo } = attributes
      const verb = request.type === RTM.delLink ? 'delete' : 'set'
      const table = linkinfo?.own?.kind === 'vrf' ? linkinfo.own.data?.table : undefined
      return JSON.parse(JSON.stringify({ verb, index, ifname, master, ifalias, table }))
    })

const msgOf = async (call: Promise<unknown>): Promise<string> => {
  try {
    await call
  } catch (error) {
    if (error instanceof CniError) return error.msg
    throw error
  }
  throw new Error('it succeeded')
}

const eth0 = { index: 2, name: 'eth0' }

describe('ADD', () => {
  test('makes the VRF, and moves the interface and its routes', async () => {
    const moved = fakeObject(
      RTM.newRoute,
      routeLayout,
      { family: AF_INET, dstLength: 0, table: 254, type: 1, protocol: 3 },
      { oif: 2, gateway: '10.9.0.1', priority: 7 },
    )
    const kernels = fakeObject(
      RTM.newRoute,
      routeLayout,
      { family: AF_INET, dstLength: 24, table: 254, type: 1, protocol: 2, scope: 253 },
      { dst: '10.9.0.0', oif: 2 },
    )
    const { kernel, attachment, locks } = attach(
      { links: [eth0], routes: [moved, kernels] },
      { vrfname: 'red', table: 10 },
    )
    expect(await vrf.add(attachment)).toBe(prevResult)
    const [made, named, joined] = changes(kernel)
    expect(made).toMatchObject({ ifname: 'red', table: 10 })
    expect(named).toEqual({ verb: 'set', index: made.index, ifalias: 'linkwright:vrf' })
    expect(joined).toEqual({ verb: 'set', index: 2, master: made.index })
    const routes = kernel.requests
      .filter(({ type }) => type === RTM.newRoute)
      .map((one) => one.as(routeLayout))
    expect(routes).toMatchObject([{ table: 10, attributes: { gateway: '10.9.0.1', priority: 7, oif: 2 } }])
    // Links, a free index, addresses, routes; the move; what was lost by it.
    expect(kernel.datagrams).toBe(6)
    expect(locks()).toBe(0)
  })

  test('chooses a table that nobody has', async () => {
    const rules = [fakeObject(RTM_NEWRULE, ruleLayout, { family: AF_INET6, action: 1 }, { table: 2 })]
    const routes = [
      fakeObject(
        RTM.newRoute,
        routeLayout,
        { family: AF_INET, dstLength: 8, table: 3, type: 6 },
        { dst: '10.0.0.0' },
      ),
    ]
    const links = [eth0, { index: 7, name: 'blue', table: 1 }]
    const { kernel, attachment } = attach({ links, rules, routes }, { vrfname: 'red' })
    await vrf.add(attachment)
    expect(changes(kernel)[0]).toMatchObject({ ifname: 'red', table: 4 })
  })

  test('passes by the tables that every namespace has', async () => {
    const links = [
      eth0,
      ...Array.from({ length: 251 }, (_, i) => ({ index: 100 + i, name: `vrf${i}`, table: i + 1 })),
    ]
    const { kernel, attachment } = attach({ links }, { vrfname: 'red' })
    await vrf.add(attachment)
    expect(changes(kernel)[0]).toMatchObject({ table: 256 })
  })

  test.each<[string, FakeLink[], JsonObject]>([
    [
      'cmdAdd failed: VRF red already exist with different routing table 9',
      [eth0, { index: 7, name: 'red', table: 9 }],
      { vrfname: 'red', table: 10 },
    ],
    ['cmdAdd failed: Netlink red is not a VRF', [eth0, { index: 7, name: 'red' }], { vrfname: 'red' }],
    ['cmdAdd failed: could not get link by name eth0', [], { vrfname: 'red' }],
    [
      'cmdAdd failed: interface eth0 has already a master set: br0',
      [
        { ...eth0, master: 7 },
        { index: 7, name: 'br0' },
      ],
      { vrfname: 'red' },
    ],
    ['invalid vrf name: "far too long a name"', [eth0], { vrfname: 'far too long a name' }],
  ])('%s', async (msg, links, conf) => {
    const { kernel, attachment, locks } = attach({ links }, conf)
    expect(await msgOf(vrf.add(attachment))).toBe(msg)
    expect(changes(kernel)).toEqual([])
    expect(locks()).toBe(0)
  })

  test('a VRF has to be named', async () => {
    for (const conf of [{}, { vrfname: '' }])
      for (const verb of ['add', 'check', 'status'] as const) {
        const { attachment } = attach({ links: [eth0] }, conf)
        const text = 'configuration is expected to have a valid vrf name'
        expect(await msgOf(Promise.resolve(vrf[verb]?.(attachment)))).toBe(text)
      }
  })
})

describe('DEL', () => {
  const red = { index: 7, name: 'red', table: 9 }
  const ours = { ...red, alias: 'linkwright:vrf' }
  const within = { ...eth0, master: 7 }
  const leaves = { verb: 'set', index: 2, master: 0 }
  const goes = { verb: 'delete', index: 7 }

  test.each<[string, FakeLink[], JsonObject, unknown[]]>([
    ['with its last interface', [within, ours], { vrfname: 'red' }, [leaves, goes]],
    ["Go's, without an alias", [within, red], { vrfname: 'red' }, [leaves, goes]],
    ["an operator's, with another alias", [within, { ...red, alias: 'mine' }], { vrfname: 'red' }, [leaves]],
    [
      'not while another is in it',
      [within, ours, { index: 3, name: 'net1', master: 7 }],
      { vrfname: 'red' },
      [leaves],
    ],
    ['though the interface has gone', [ours], { vrfname: 'red' }, [goes]],
    ["Go's, though the interface has gone", [red], { vrfname: 'red' }, [goes]],
    ['not that the interface never was in', [eth0, red], { vrfname: 'red' }, []],
    ['though the configuration does not name it', [within, ours], {}, [leaves, goes]],
    ['not out of a bridge', [within, { index: 7, name: 'red' }], { vrfname: 'red' }, []],
    ["not out of another one's VRF", [within, { ...red, name: 'blue' }], { vrfname: 'red' }, []],
    ['nothing is there', [], { vrfname: 'red' }, []],
  ])('%s', async (_title, links, conf, expected) => {
    const { kernel, attachment, locks } = attach({ links }, conf, true)
    await vrf.del(attachment)
    expect(changes(kernel)).toEqual(expected)
    expect(locks()).toBe(0)
  })
})
