/** The Go plugins ipvlan, vlan and dummy, and ours. */
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { goDir, type Side, side } from '../../conformance/bridge/sides.ts'
import { plug } from '../../kernel/plugins/master.ts'
import { binDirs, type PrintedResult } from '../../support/plugin.ts'
import type { PrivateHost, Space } from '../../support/space.ts'
import { settled } from '../../support/wait.ts'

const master = async (host: PrivateHost): Promise<void> => {
  await plug(host, 'eth1')
  await host.ip('address', 'add', '10.9.0.2/24', 'dev', 'eth1')
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

/** Debian's plugins of 2022 have no dummy. */
const isThere = ({ type }: JsonObject): boolean => existsSync(`${goDir}/${type}`)

const scenarios = [
  { ...ipvlan, mode: '', dns, ipam: both },
  { ...ipvlan, mode: 'l3', mtu: 9000, ipam: hosts },
  { ...ipvlan, mode: 'l3s', mtu: 1400, cniVersion: '0.2.0', ipam: both },
  { ...vlan, dns, mtu: 1400, ipam: both },
  { ...vlan, vlanId: 0, cniVersion: '0.3.1', ipam: hosts },
  // Go's takes dns from IPAM alone.
  { type: 'dummy', ipam: both },
].filter(isThere)

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

/** ADD, CHECK, DEL and DEL once more. */
const play = async (on: Side, conf: JsonObject, name: string): Promise<unknown> => {
  const said: unknown[] = []
  let prevResult: PrintedResult | null = null
  for (const verb of ['ADD', 'CHECK', 'DEL', 'DEL']) {
    // 0.4.0 brought it.
    if (verb === 'CHECK' && String(conf.cniVersion ?? '1.0.0') < '0.4.0') continue
    const own = verb === 'ADD' ? {} : { prevResult: prevResult as never }
    const { status, result, error } = await on.run(verb, { container: name, conf: own }, conf)
    prevResult ??= result
    said.push([verb, status, steady(result), error])
    if (verb === 'ADD' || verb === 'DEL') said.push(steady(await look(await on.container(name))))
  }
  return said
}

test('both do the same', async () => {
  const all = async (dir: string) => {
    const on = await side(dir)
    await master(on.host)
    const played: unknown[] = []
    for (const [i, conf] of scenarios.entries()) played.push([conf, await play(on, conf, `container-${i}`)])
    return played
  }
  const ours = await all(binDirs.ours)
  expect(JSON.stringify(ours)).not.toContain('"code"')
  expect(ours).toEqual(await all(goDir))
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
  ['dummy interface requires an IPAM configuration', { type: 'dummy' }],
]

test('both refuse the same, in the same words', async () => {
  const compared = refused.filter(([, conf]) => isThere(conf))
  const said = async (dir: string) => {
    const on = await side(dir)
    await master(on.host)
    const all: unknown[] = []
    for (const [, conf] of compared) {
      const { status, error } = await on.run('ADD', { container: 'blue' }, conf)
      // The oldest end one of their sentences with a full stop.
      all.push([status, error?.msg.replace(/\.$/, '')])
    }
    return all
  }
  expect(await said(goDir)).toEqual(compared.map(([msg]) => [1, msg]))
  expect(await said(binDirs.ours)).toEqual(compared.map(([msg, , ours]) => [1, ours ?? msg]))
})

const swapped: JsonObject[] = [
  { ...ipvlan, mode: 'l3', ipam: hosts },
  { ...vlan, ipam: hosts },
  { type: 'dummy', ipam: hosts },
]

test.each(swapped.filter(isThere))(
  '$type: what one implementation began, the other checks and ends',
  async (conf) => {
    for (const [begins, ends] of [
      [goDir, binDirs.ours],
      [binDirs.ours, goDir],
    ] as const) {
      const on = await side(begins)
      await master(on.host)
      const before = await on.files()
      const { result } = await on.run('ADD', { container: 'blue' }, conf)
      const own = { container: 'blue', conf: { prevResult: result as never } }
      for (const verb of ['CHECK', 'DEL']) {
        const { error } = await on.run(verb, own, conf, ends)
        expect({ ends, verb, error }).toEqual({ ends, verb, error: null })
      }
      const left = await on.containers.get('blue')!.ipJson<{ ifname: string }>('link', 'show')
      expect(left.map(({ ifname }) => ifname)).toEqual(['lo'])
      const reserved = (files: string) => files.split('\n').filter((line) => /\/10\./.test(line))
      expect(reserved(await on.files())).toEqual(reserved(before))
    }
  },
)
