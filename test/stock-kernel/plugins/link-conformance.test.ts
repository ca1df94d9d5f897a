/** The Go plugins ipvlan, vlan and dummy, and ours. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import {
  comparedOf,
  goDir,
  mustPeerOf,
  peerOf,
  type Scenario,
  type Side,
  side,
} from '../../conformance/bridge/sides.ts'
import { plug } from '../../kernel/plugins/master.ts'
import { binDirs, type PrintedResult } from '../../support/plugin.ts'
import type { Space } from '../../support/space.ts'
import { settled } from '../../support/wait.ts'

const master = async (there: Space): Promise<void> => {
  await plug(there, 'eth1')
  await there.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
}

const both: JsonObject = {
  type: 'static',
  addresses: [
    { address: '10.9.0.11/24', gateway: '10.9.0.1' },
    { address: 'fd09::11/64', gateway: 'fd09::1' },
  ],
  routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
}
const hosts = { type: 'host-local', subnet: '10.9.0.0/24', rangeStart: '10.9.0.100' }
const ipvlan = { type: 'ipvlan', master: 'eth1' }
const vlan = { type: 'vlan', master: 'eth1', vlanId: 100 }
const dns = { nameservers: ['9.9.9.9'], domain: 'a.org' }

/** Debian's plugins of 2022 know masters on the host alone, and there is no dummy among them. */
const compared = (...confs: readonly JsonObject[]): Scenario[] =>
  comparedOf(
    confs.map((conf) => ({
      title: `${conf.type}${conf.linkInContainer ? ' in the container' : ''}`,
      conf,
      newer: conf.linkInContainer === true,
    })),
  )

const scenarios = compared(
  { ...ipvlan, mode: '', dns, ipam: both },
  { ...ipvlan, mode: 'l3', mtu: 9000, ipam: hosts },
  { ...ipvlan, mode: 'l3s', mtu: 1400, cniVersion: '0.2.0', ipam: both },
  { ...ipvlan, linkInContainer: true, ipam: both },
  { ...vlan, dns, mtu: 1400, ipam: both },
  { ...vlan, vlanId: 0, cniVersion: '0.3.1', ipam: hosts },
  { ...vlan, linkInContainer: true, cniVersion: '1.1.0', ipam: both },
  // Go's takes dns from IPAM alone.
  { type: 'dummy', ipam: both },
)

/**
 * Facts that differ from run to run, and what differs on purpose: the alias; addresses that need no probing; the length
 * of the transmit queue, which Go sets to 0 by accident.
 */
const passing = new Set([
  ...['ifindex', 'link_index', 'link_netnsid', 'valid_life_time', 'preferred_life_time'],
  ...['operstate', 'ifalias', 'nodad', 'txqlen'],
])
/** What is set besides, for addresses to be announced and probed, or is not set where that has no effect. */
const ownSettings = /\/(arp_notify|ndisc_notify|accept_dad|enhanced_dad|keep_addr_on_down):/

/** The container as `ip` tells it. One shell, for an emulated machine is slow. */
const look = async (container: Space): Promise<unknown> => {
  await settled(container)
  const script = [
    ...['addr', '-4 route show table all', '-6 route show table all'].map((what) => `ip -d -j ${what}; echo`),
    'grep -rs . /proc/sys/net/ipv4/conf/eth0 /proc/sys/net/ipv6/conf/eth0',
  ].join('\n')
  const { stdout } = await container.run('sh', ['-c', script])
  const lines = stdout.split('\n')
  const json = lines
    .filter((line) => line.startsWith('['))
    .map((line) => JSON.parse(line, (key, value) => (passing.has(key) ? undefined : value)))
  // Linux 6.1 lists links by the lower 8 bits of their indices, and those of ours are random.
  json[0]?.sort((a: { ifname: string }, b: { ifname: string }) => (a.ifname < b.ifname ? -1 : 1))
  return [json, lines.filter((line) => line.startsWith('/') && !ownSettings.test(line)).sort()]
}

/** MACs are the kernel's choice, or ours, and link-local addresses are made of them. */
const steady = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value ?? null)
      .replace(/(?!00:00:00)\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b(?<!ff:ff:ff)/g, 'MAC')
      .replace(/fe80::[0-9a-f]+:[0-9a-f:]+/g, 'LL')
      // Debian's Go plugins print a dns that is empty.
      .replace(/,"dns":\{\}/, ''),
  )

/** Ours of 1.1.0 tell MTUs, as the specification has it. */
const withoutMtu = (result: PrintedResult | null): unknown =>
  result?.cniVersion === '1.1.0'
    ? { ...result, interfaces: result.interfaces?.map(({ mtu, ...one }) => one) }
    : result

/** ADD, CHECK, DEL and DEL once more. */
const play = async (on: Side, conf: JsonObject, name: string): Promise<unknown> => {
  const said: unknown[] = []
  let prevResult: PrintedResult | null = null
  if (conf.linkInContainer) await master(await on.container(name))
  for (const verb of ['ADD', 'CHECK', 'DEL', 'DEL']) {
    // 0.4.0 brought it.
    if (verb === 'CHECK' && String(conf.cniVersion ?? '1.0.0') < '0.4.0') continue
    const own = verb === 'ADD' ? {} : { prevResult: prevResult as never }
    const { status, result, error } = await on.run(verb, { container: name, conf: own }, conf)
    prevResult ??= result
    said.push([verb, status, steady(withoutMtu(result)), error])
    if (verb === 'ADD' || verb === 'DEL') said.push(steady(await look(await on.container(name))))
  }
  return said
}

/** What is compared with the same plugins, on one node a side. */
const byPeer = (all: readonly Scenario[]): { peer: string; dir: string; confs: JsonObject[] }[] =>
  [
    { peer: 'the usual Go', dir: goDir },
    { peer: 'the newer Go', dir: binDirs.goNewer },
  ]
    .map(({ peer, dir }) => ({
      peer,
      dir,
      confs: all.filter((scenario) => peerOf(scenario) === dir).map(({ conf }) => conf),
    }))
    .filter(({ confs }) => confs.length > 0)

/** Both at the same time. */
const byBoth = async <T>(
  dir: string,
  confs: readonly JsonObject[],
  what: (on: Side, conf: JsonObject, name: string) => Promise<T>,
): Promise<{ go: T[]; ours: T[] }> => {
  const all = async (own: string): Promise<T[]> => {
    const on = await side(own)
    await master(on.host)
    const done: T[] = []
    for (const [i, conf] of confs.entries()) done.push(await what(on, conf, `container-${i}`))
    return done
  }
  const [go, ours] = await Promise.all([all(dir), all(binDirs.ours)])
  return { go, ours }
}

test.each(byPeer(scenarios))('both do the same: $peer', async ({ dir, confs }) => {
  const { go, ours } = await byBoth(dir, confs, async (on, conf, name) => [conf, await play(on, conf, name)])
  expect(JSON.stringify(ours)).not.toContain('"code"')
  expect(ours).toEqual(go)
})

const refused: [msg: string, conf: JsonObject, ours?: string][] = [
  ['unknown ipvlan mode: "l4"', { ...ipvlan, mode: 'l4', ipam: hosts }],
  ['failed to lookup master "eth9": Link not found', { ...ipvlan, master: 'eth9', ipam: hosts }],
  ['no plugin name provided', { ...ipvlan, mode: 'l3' }, 'ipvlan mode l3 requires an IPAM configuration'],
  [
    'chained master failure. PrevResult lacks a single named interface',
    { type: 'ipvlan', ipam: hosts, prevResult: { cniVersion: '1.0.0', interfaces: [] } },
  ],
  [
    '"master" field is required. It specifies the host interface name to create the VLAN for',
    { type: 'vlan', ipam: hosts },
  ],
  ['invalid VLAN ID 4095 (must be between 0 and 4095 inclusive)', { ...vlan, vlanId: 4095, ipam: hosts }],
  ['invalid VLAN ID -1 (must be between 0 and 4095 inclusive)', { ...vlan, vlanId: -1, ipam: hosts }],
  ['invalid MTU 1501, must be [0, master MTU(1500)]', { ...vlan, mtu: 1501, ipam: hosts }],
  [
    'Link not found',
    { ...vlan, linkInContainer: true, master: 'eth9', ipam: hosts },
    'failed to lookup master "eth9": Link not found',
  ],
  ['dummy interface requires an IPAM configuration', { type: 'dummy' }],
]

const refusals = byPeer(compared(...refused.map(([, conf]) => conf)))

test.each(refusals)('both refuse the same, in the same words: $peer', async ({ dir, confs }) => {
  const told = refused.filter(([, conf]) => confs.includes(conf))
  const { go, ours } = await byBoth(dir, confs, async (on, conf) => {
    const { status, error } = await on.run('ADD', { container: 'blue' }, conf)
    // The oldest end one of their sentences with a full stop.
    return [status, error?.msg.replace(/\.$/, '')]
  })
  expect(go).toEqual(told.map(([msg]) => [1, msg]))
  expect(ours).toEqual(told.map(([msg, , own]) => [1, own ?? msg]))
})

const swapped = compared(
  { ...ipvlan, mode: 'l3', ipam: hosts },
  { ...ipvlan, linkInContainer: true, ipam: hosts },
  { ...vlan, ipam: hosts },
  { ...vlan, linkInContainer: true, ipam: hosts },
  { type: 'dummy', ipam: hosts },
)

const swap = async (conf: JsonObject, begins: string, ends: string): Promise<void> => {
  const on = await side(begins)
  const container = await on.container('blue')
  await master(conf.linkInContainer ? container : on.host)
  const linksOf = async () =>
    (await container.ipJson<{ ifname: string }>('link', 'show')).map(({ ifname }) => ifname)
  const before = { links: await linksOf(), files: await on.files() }
  const { result, error: failure } = await on.run('ADD', { container: 'blue' }, conf)
  expect({ begins, failure }).toEqual({ begins, failure: null })
  const own = { container: 'blue', conf: { prevResult: result as never } }
  for (const verb of ['CHECK', 'DEL']) {
    const { error } = await on.run(verb, own, conf, ends)
    expect({ ends, verb, error }).toEqual({ ends, verb, error: null })
  }
  expect(await linksOf()).toEqual(before.links)
  const reserved = (files: string) => files.split('\n').filter((line) => /\/10\./.test(line))
  expect(reserved(await on.files())).toEqual(reserved(before.files))
}

test.each(swapped)('what one implementation began, the other checks and ends: $title', async (scenario) => {
  const theirs = mustPeerOf(scenario)
  await Promise.all([swap(scenario.conf, theirs, binDirs.ours), swap(scenario.conf, binDirs.ours, theirs)])
})
