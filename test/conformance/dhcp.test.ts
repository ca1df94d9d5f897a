/** What both make of the same server: the result, what the server is told and asked, and the words they fail in. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { ipv4Of, routesOf } from '../kernel/ipam/dhcp/node.ts'
import { capture } from '../support/dhcp/capture.ts'
import { type DnsmasqOptions, dnsmasq } from '../support/dhcp/dnsmasq.ts'
import type { Type4 } from '../support/dhcp/frame.ts'
import type { PluginRun } from '../support/plugin.ts'
import { goVersions, isNew } from './bridge/sides.ts'
import { type Call, type DhcpSide, dhcpSide, hasty, MAC } from './dhcp/sides.ts'

const sides = {} as { go: DhcpSide; ours: DhcpSide }
beforeAll(async () => {
  ;[sides.go, sides.ours] = await Promise.all([dhcpSide('go'), dhcpSide('ours')])
  await Promise.all([sides.go.daemon.start(), sides.ours.daemon.start()])
})

/** The same on both sides, at the same time. */
const twice = async <T>(work: (side: DhcpSide) => Promise<T>): Promise<{ go: T; ours: T }> => {
  const [go, ours] = await Promise.all([work(sides.go), work(sides.ours)])
  return { go, ours }
}

let containers = 0
/** A name that no test has used: the nodes live as long as the file. */
const fresh = (): number => ++containers

interface Case {
  readonly title: string
  readonly server?: DnsmasqOptions
  readonly ipam?: JsonObject
  /** Default: the newest that both speak. */
  readonly versions?: readonly string[]
  /** Only for a Go that has it: Debian's of 2022 has not. */
  readonly newer?: boolean
}

const routes = [
  { to: '198.51.100.0/24', via: '10.77.0.3' },
  { to: '203.0.113.0/24', via: '0.0.0.0' },
  // Ours names the router of option 121 as the gateway, Go's that of option 3.
  { to: '0.0.0.0/0', via: '10.77.0.1' },
] as const

const cases: readonly Case[] = [
  { title: 'an address and a router', versions: goVersions },
  { title: 'no router', server: { routers: [] } },
  {
    title: 'static routes (option 33), and their metric',
    server: { staticRoutes: [{ to: '192.0.2.0', via: '10.77.0.2' }] },
    ipam: { request: [{ option: '33' }], ...(isNew ? { priority: 77 } : {}) },
  },
  {
    title: 'classless routes (option 121)',
    server: { classlessRoutes: routes },
    ipam: { request: [{ option: '121' }] },
    versions: ['0.2.0', '1.0.0'],
  },
]

/** A result without what ours has and Go's has not, each told in docs/differences.md. */
const comparable = ({ result }: PluginRun): unknown =>
  JSON.parse(JSON.stringify(result), (key, value) => {
    // DNS is for a test of its own. Results of 1.1.0 tell MTUs.
    if (key === 'dns' || key === 'mtu') return undefined
    // Go's of 2022 has no scope, in results nor in the kernel.
    return key === 'scope' && !isNew ? undefined : value
  })

describe('the same ADD', () => {
  test.each(cases)('$title', async ({ server, ipam, versions = ['1.0.0'] }) => {
    const base = fresh()
    const attach = async (side: DhcpSide, cniVersion: string, i: number) => {
      const container = await side.host.container(`c${base}-${i}`)
      const mac = `${MAC.slice(0, -5)}${base.toString(16).padStart(2, '0')}:0${i}`
      const call: Call = {
        ...{ container, containerId: `c${base}-${i}` },
        ...(ipam ? { ipam } : {}),
        conf: { cniVersion, runtimeConfig: { mac } },
      }
      const run = await side.run('ADD', call)
      expect(run.error).toBeNull()
      const kernel = [await ipv4Of(container), await routesOf(container)]
      await side.must('DEL', { ...call, prevResult: run.result })
      await container.close()
      return { version: cniVersion, result: comparable(run), kernel }
    }
    const { go, ours } = await twice(async (side) => {
      await dnsmasq(side.lan.space, server)
      return await Promise.all(versions.map((version, i) => attach(side, version, i)))
    })
    expect(ours).toEqual(go)
  })

  test('DNS and MTU: ours tells them', async () => {
    const name = `c${fresh()}`
    const { go, ours } = await twice(async (side) => {
      await dnsmasq(side.lan.space, {
        dns: ['10.77.0.53'],
        domain: 'a.example',
        search: ['b.example'],
        mtu: 1400,
      })
      const container = await side.host.container(name)
      const { dns } = await side.must('ADD', { container, containerId: name })
      const [link] = await container.ipJson<{ mtu: number }>('link', 'show', 'eth0')
      return { dns: dns ?? {}, mtu: link!.mtu }
    })
    expect(go).toEqual({ dns: {}, mtu: 1500 })
    const dns = { nameservers: ['10.77.0.53'], domain: 'a.example', search: ['b.example'] }
    expect(ours).toEqual({ dns, mtu: 1400 })
  })
})

/** The parameter request list, which is compared on its own, and the largest message, which is for each to say. */
const [PARAMETERS, LARGEST, CLIENT_ID] = [55, 57, 61]

describe('what the server is told', () => {
  const asked: readonly (Case & { readonly network?: string; readonly args?: string })[] = [
    { title: 'nothing but the client identifier' },
    { title: 'a client identifier that is cut to what an option holds', network: 'n'.repeat(300) },
    {
      title: 'options of the configuration, and of CNI_ARGS',
      args: 'IgnoreUnknown=1;K8S_POD_NAME=web-1',
      ipam: {
        provide: [
          { option: 'host-name', value: 'static', fromArg: 'K8S_POD_NAME' },
          { option: 'vendor-class-identifier', value: 'v' },
          { option: '77', value: 'user class' },
        ],
        request: [{ option: 'host-name' }, { option: '42' }],
      },
    },
    { title: 'a client identifier of the configuration', ipam: { provide: [{ option: '61', value: 'me' }] } },
    {
      title: 'only what it is asked for',
      ipam: { request: [{ skipDefault: true, option: 'subnet-mask' }, { option: 'routers' }] },
    },
  ]

  test.each(asked)('$title', async ({ title, ipam, network = 'net', args }) => {
    const id = fresh()
    const { go, ours } = await twice(async (side) => {
      const [server, frames, container] = await Promise.all([
        dnsmasq(side.lan.space),
        capture(side.lan.space, 'lan0'),
        side.host.container(`c${id}`),
      ])
      const call: Call = {
        ...{ container, containerId: 'cid-1', conf: { name: network, runtimeConfig: { mac: MAC } } },
        ...(ipam ? { ipam } : {}),
        ...(args ? { args } : {}),
      }
      await side.must('ADD', call)
      const { clientId } = await server.lease()
      await side.must('DEL', call)
      await frames.waitFor('the RELEASE', ({ dhcp4 }) => dhcp4?.type === 'release')
      await container.close()
      const options = (type: Type4): Map<number, string> => {
        const all = frames.dhcp4(type).at(-1)!.dhcp4!.options
        return new Map([...all].map(([code, bytes]) => [code, bytes.toString('hex')]))
      }
      return {
        clientId,
        messages: { discover: options('discover'), request: options('request') },
        release: options('release'),
      }
    })
    expect(ours.clientId).toBe(go.clientId)
    for (const type of ['discover', 'request'] as const) {
      const [theirs, own] = [go.messages[type], ours.messages[type]]
      const parameters = (of: Map<number, string>): number[] => [...Buffer.from(of.get(PARAMETERS)!, 'hex')]
      // What Go asks for ours asks for too; where no default is wanted, for nothing else.
      expect(parameters(own)).toEqual(expect.arrayContaining(parameters(theirs)))
      if (title.startsWith('only')) expect(parameters(own)).toEqual(parameters(theirs))
      for (const of of [theirs, own]) for (const code of [PARAMETERS, LARGEST]) of.delete(code)
      expect(Object.fromEntries(own)).toEqual(Object.fromEntries(theirs))
    }
    // The lease is given back in the name of whoever got it. Go's forgets a configured one, and the server ignores it.
    expect(ours.release.get(CLIENT_ID)).toBe(ours.messages.request.get(CLIENT_ID))
    if (!ipam?.provide || network !== 'net')
      expect(go.release.get(CLIENT_ID)).toBe(ours.release.get(CLIENT_ID))
  })
})

describe('errors', () => {
  test('no server: the words that tools look for', async () => {
    const go = await dhcpSide('go', { flags: hasty })
    const ours = await dhcpSide('ours', { flags: hasty })
    const [theirs, own] = await Promise.all(
      [go, ours].map(async (side) => {
        await side.daemon.start()
        return (await side.run('ADD', { container: await side.host.container() })).error
      }),
    )
    expect(theirs!.msg).toBe('error calling DHCP.Allocate: no more tries')
    expect(own).toMatchObject({ msg: theirs!.msg, code: 11 })
  })

  test('no daemon, and one that has been killed', async () => {
    const [go, ours] = await Promise.all([dhcpSide('go'), dhcpSide('ours')])
    const fail = async (side: DhcpSide) => {
      const container = await side.host.container()
      const [absent, del] = [await side.run('ADD', { container }), await side.run('DEL', { container })]
      await side.daemon.start()
      await side.daemon.kill()
      // Go's has left its interface in the first one.
      const killed = await side.run('ADD', { container: await side.host.container('next') })
      return { absent: absent.error, killed: killed.error, del: del.error }
    }
    const [theirs, own] = await Promise.all([fail(go), fail(ours)])
    const dialing = 'error dialing DHCP daemon: dial unix /run/cni/dhcp.sock: connect:'
    expect(theirs.absent!.msg).toBe(`${dialing} no such file or directory`)
    expect(own.absent).toMatchObject({ code: 50, msg: theirs.absent!.msg })
    expect(theirs.killed!.msg).toBe(`${dialing} connection refused`)
    expect(own.killed).toMatchObject({ code: 50, msg: theirs.killed!.msg })
    // DEL has nothing to do there, and says so by succeeding.
    expect(theirs.del).not.toBeNull()
    expect(own.del).toBeNull()
  })

  test.each([
    ['an option of no name', { provide: [{ option: 'nonsense', value: 'x' }] }],
    ['an option that is asked for by no name', { request: [{ option: 'nonsense' }] }],
    ['a value that no option can hold', { provide: [{ option: '60', value: 'x'.repeat(256) }] }],
  ])('%s', async (_, ipam) => {
    const name = `c${fresh()}`
    const { go, ours } = await twice(async (side) => {
      const container = await side.host.container(name)
      return (await side.run('ADD', { container, containerId: name, ipam })).error
    })
    expect(go).not.toBeNull()
    expect(ours).toMatchObject({ code: 7 })
  })
})
