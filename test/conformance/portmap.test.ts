/** portmap as the Go plugins have it, of 2022 and of today: rules, errors, and each ends what the other began. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PluginRun, runPlugin } from '../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../support/space.ts'

/** The Go plugins that are here. */
const peers = [
  { peer: "Debian's", dir: binDirs.go },
  { peer: 'the newer', dir: binDirs.goNewer },
].filter(({ dir }) => existsSync(`${dir}/portmap`))
const newer = peers.filter(({ dir }) => dir === binDirs.goNewer)

interface Side {
  readonly host: PrivateHost
  readonly container: Container
  readonly run: (dir: string, command: string, conf: JsonObject, more?: JsonObject) => Promise<PluginRun>
}

const prevResult = (sandbox: string) => ({
  interfaces: [{ name: 'cni0' }, { name: 'eth0', sandbox }],
  ips: [
    { version: '4', address: '10.22.0.2/16', interface: 1 },
    { version: '6', address: 'fd00:22::2/64', interface: 1 },
  ],
})

/** A host with a bridge, and a container that has its addresses. */
const side = async (): Promise<Side> => {
  const host = await privateHost()
  const container = await host.container()
  await host.must('sh', [
    '-ec',
    'ip link add cni0 type bridge; ip address add 10.22.0.1/16 dev cni0; ip link set cni0 up',
  ])
  return {
    host,
    container,
    run: (binDir, command, conf, more = {}) =>
      runPlugin({
        ...{ host, binDir, command, type: 'portmap', netns: container },
        conf: {
          ...{ cniVersion: '1.0.0', name: 'net', type: 'portmap' },
          prevResult: { cniVersion: '1.0.0', ...prevResult(container.sandbox) },
          ...conf,
          ...more,
        },
      }),
  }
}

const mapped = (...portMappings: JsonObject[]): JsonObject => ({ runtimeConfig: { portMappings } })
const web = { hostPort: 8080, containerPort: 80, protocol: 'tcp' }
const dns = { hostPort: 5353, containerPort: 53, protocol: 'udp' }

/** The nat tables, order of chains and counters aside. */
const nat = async ({ host }: Side): Promise<string[]> =>
  (await host.must('sh', ['-ec', 'iptables -t nat -S; echo; ip6tables -t nat -S'])).split('\n').sort()

const withChain = 'for p in iptables ip6tables; do $p -t nat -N KUBE-MARK-MASQ; done'

interface Scenario {
  readonly title: string
  readonly conf: JsonObject
  readonly prepare?: string
  /** The plugins that it tells something about. Default: both. */
  readonly of?: 'old' | 'new'
}

const scenarios: readonly Scenario[] = [
  { title: 'TCP and UDP', of: 'old', conf: mapped(dns, web, { ...web, hostPort: 8081 }) },
  {
    title: 'every protocol, more ports than one rule takes',
    of: 'new',
    conf: mapped(
      ...[dns, { ...web, protocol: 'sctp' }, { ...web, protocol: 'dccp' }],
      ...Array.from({ length: 16 }, (_, i) => ({ ...web, hostPort: 9000 + i })),
    ),
  },
  {
    title: 'addresses of the host',
    conf: mapped(
      { ...web, hostIP: '192.0.2.1' },
      { ...dns, hostIP: '2001:db8::1' },
      { ...web, hostPort: 81, hostIP: '0.0.0.0' },
    ),
  },
  { title: 'snat: false', of: 'new', conf: { ...mapped(web), snat: false } },
  { title: 'masqAll, another mark', of: 'new', conf: { ...mapped(web), masqAll: true, markMasqBit: 31 } },
  {
    title: "somebody's mark, conditions",
    conf: {
      ...{ ...mapped(web), externalSetMarkChain: 'KUBE-MARK-MASQ' },
      conditionsV4: ['!', '-s', '10.0.0.0/8', '-m', 'mark', '!', '--mark', '0x1'],
      conditionsV6: ['-i', 'eth9'],
    },
    prepare: withChain,
  },
]

describe.each(peers)('iptables: as $peer', ({ dir }) => {
  const isOld = dir === binDirs.go
  const told = scenarios.filter(({ of = isOld ? 'old' : 'new' }) => of === (isOld ? 'old' : 'new'))
  test.each(told)('$title', async ({ conf, prepare }) => {
    // Debian's know no key "backend", and iptables only.
    const asked = { ...conf, backend: 'iptables' }
    const [theirs, ours] = await Promise.all([side(), side()])
    for (const { host } of [theirs, ours]) if (prepare) await host.must('sh', ['-ec', prepare])
    const [go, own] = await Promise.all([theirs.run(dir, 'ADD', asked), ours.run(binDirs.ours, 'ADD', asked)])
    expect(own.error).toBeNull()
    // Debian's print what is empty.
    expect(own.result).toEqual({ ...go.result, dns: undefined })
    expect(await nat(ours)).toEqual(await nat(theirs))
    const setting = 'net/ipv4/conf/cni0/route_localnet'
    expect(await ours.host.sysctl(setting)).toBe(await theirs.host.sysctl(setting))
    // Each finds and ends what the other has made. Debian's looks for IPv4's rules among IPv6's, its own too.
    const [itself, other] = await Promise.all([theirs, ours].map((there) => there.run(dir, 'CHECK', asked)))
    expect(other!.error).toEqual(itself!.error)
    if (!isOld) expect(itself!.error).toBeNull()
    expect((await theirs.run(binDirs.ours, 'CHECK', asked)).error).toBeNull()
    const ends = await Promise.all([theirs.run(binDirs.ours, 'DEL', asked), ours.run(dir, 'DEL', asked)])
    expect(ends.map(({ error }) => error)).toEqual([null, null])
    expect((await nat(theirs)).filter((line) => /CNI-DN-|10\.22|fd00/.test(line))).toEqual([])
    expect(await nat(ours)).toEqual(await nat(theirs))
  })

  test('what it cannot end: ours by nftables, unless they are made again by iptables before', async () => {
    const there = await side()
    const elements = async () =>
      (
        await there.host.run('sh', ['-c', 'nft list table ip cni_hostport; nft list table ip6 cni_hostport'])
      ).stdout
        .split('\n')
        .filter((line) => /10\.22\.0\.2|fd00:22::2/.test(line))
    expect((await there.run(binDirs.ours, 'ADD', mapped(web))).error).toBeNull()
    expect((await there.run(dir, 'DEL', mapped(web))).error).toBeNull()
    expect(await elements()).not.toEqual([])
    expect((await there.run(binDirs.ours, 'DEL', { runtimeConfig: {} })).error).toBeNull()
    expect(await elements()).toEqual([])
    expect((await there.run(binDirs.ours, 'ADD', mapped(web))).error).toBeNull()
    expect((await there.run(binDirs.ours, 'ADD', { ...mapped(web), backend: 'iptables' })).error).toBeNull()
    expect(await elements()).toEqual([])
    expect((await there.run(dir, 'DEL', { ...mapped(web), backend: 'iptables' })).error).toBeNull()
    expect((await nat(there)).filter((line) => /CNI-DN-/.test(line))).toEqual([])
  })
})

describe.each(newer)('nftables: $peer', ({ dir }) => {
  test("what it has made is ended by ours, others' mappings stay", async () => {
    const there = await side()
    const asked = { ...mapped(web, dns, { ...web, hostPort: 81, hostIP: '192.0.2.1' }), backend: 'nftables' }
    const rules = async () =>
      (await there.host.must('nft', ['list', 'ruleset']))
        .split('\n')
        .filter((line) => /10\.22\.|fd00:22/.test(line))
    const as = (binDir: string, command: string, containerId: string, conf: JsonObject) =>
      runPlugin({
        ...{ host: there.host, binDir, command, containerId, type: 'portmap', netns: there.container },
        conf: {
          cniVersion: '1.0.0',
          name: 'net',
          type: 'portmap',
          ...conf,
          prevResult: { cniVersion: '1.0.0', ...prevResult(there.container.sandbox) },
        },
      })
    expect(
      (await as(dir, 'ADD', 'other', { ...mapped({ ...web, hostPort: 9090 }), backend: 'nftables' })).error,
    ).toBeNull()
    const before = await rules()
    for (const conf of [{ type: 'portmap' }, asked]) {
      expect((await as(dir, 'ADD', 'cid-1', asked)).error).toBeNull()
      expect(await rules()).not.toEqual(before)
      // Its rules are no elements of our maps.
      expect((await as(binDirs.ours, 'CHECK', 'cid-1', asked)).error?.msg).toMatch(/^port mappings: missing /)
      expect((await as(binDirs.ours, 'DEL', 'cid-1', conf)).error).toBeNull()
      expect(await rules()).toEqual(before)
    }
  })

  test('they work side by side', async () => {
    const there = await side()
    const nft = { backend: 'nftables' }
    const elements = async () =>
      (await there.host.must('nft', ['list', 'ruleset']))
        .split('\n')
        .filter((line) => /10\.22\.0\.2/.test(line))
    expect((await there.run(binDirs.ours, 'ADD', { ...mapped(web), ...nft })).error).toBeNull()
    const ours = await elements()
    // It flushes and fills its own chains.
    expect((await there.run(dir, 'ADD', { ...mapped(dns), ...nft }, { name: 'another' })).error).toBeNull()
    expect((await there.run(dir, 'DEL', { ...mapped(dns), ...nft }, { name: 'another' })).error).toBeNull()
    expect(await elements()).toEqual(ours)
    expect((await there.run(binDirs.ours, 'CHECK', { ...mapped(web), ...nft })).error).toBeNull()
  })
})

test.each(newer)('refused as $peer', async ({ dir }) => {
  const there = await side()
  for (const conf of [
    mapped({ ...web, hostPort: 0 }),
    mapped({ ...web, containerPort: -1 }),
    { ...mapped(web), markMasqBit: 32 },
    { ...mapped(web), markMasqBit: 1, externalSetMarkChain: 'X' },
    { ...mapped(web), backend: 'ipfw' },
    {
      ...{ ...mapped(web), backend: 'nftables' },
      ...{ conditionsV4: ['-s', '10.0.0.0/8'], externalSetMarkChain: 'X' },
    },
    { ...mapped(web), prevResult: null },
  ]) {
    const [theirs, ours] = await Promise.all([
      there.run(dir, 'ADD', conf),
      there.run(binDirs.ours, 'ADD', conf),
    ])
    expect(theirs.error?.msg).toBeTruthy()
    expect(ours.error?.msg).toBe(theirs.error?.msg)
  }
})
