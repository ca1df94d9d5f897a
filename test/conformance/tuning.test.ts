/** tuning as Go's, and each after the other: results, the interface, sysctls, and what is kept meanwhile. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PluginRun } from '../support/plugin.ts'
import { comparedOf, mustPeerOf, peerOf, type Scenario, type Side, side } from './bridge/sides.ts'

const mac = (end: string): string => `02:11:22:33:44:${end}`

const sysctl = { 'net.ipv4.conf.eth0.arp_filter': '1', 'net.ipv4.ip_local_port_range': '20000\t30000' }
const all: JsonObject = { mac: mac('55'), promisc: true, mtu: 1400, allmulti: true, sysctl }

interface Tuning extends Scenario {
  /** Lines of the node's list. */
  readonly allowlist?: string
}

const scenario = (title: string, conf: JsonObject, more: Omit<Tuning, 'title' | 'conf'> = {}): Tuning => ({
  title,
  conf: { type: 'tuning', ...conf },
  ...more,
})

const scenarios: readonly Tuning[] = [
  scenario('all', all),
  scenario('nothing', {}),
  scenario('sysctls alone', { sysctl }),
  scenario('txQLen', { ...all, txQLen: 77 }, { newer: true }),
  scenario(
    'args',
    { ...all, args: { cni: { mac: mac('66'), promisc: false, mtu: 1300, allmulti: false, sysctl } } },
    { attachments: [{ container: 'blue', args: `MAC=${mac('77')}` }] },
  ),
  scenario(
    'MAC of CNI_ARGS',
    { mac: mac('55') },
    { attachments: [{ container: 'blue', args: `IgnoreUnknown=1;MAC=${mac('66')};K=V` }] },
  ),
  scenario(
    'MAC of runtimeConfig',
    { mac: mac('55'), runtimeConfig: { mac: mac('77') } },
    { attachments: [{ container: 'blue', args: `MAC=${mac('66')}` }] },
  ),
  scenario(
    'what is allowed',
    { sysctl },
    { newer: true, allowlist: '\n  arp_filter$ \n^net\\.ipv4\\.ip_[[:alpha:]_]+$\n((' },
  ),
  ...['0.3.1', '0.4.0', '1.1.0'].map((cniVersion) => scenario(`of ${cniVersion}`, { cniVersion, ...all })),
]

const refused: readonly Tuning[] = [
  scenario(
    'what is not allowed',
    { sysctl: { 'net.ipv4.ip_forward': '1' } },
    { newer: true, allowlist: 'arp_filter\nport' },
  ),
  scenario(
    'without any line',
    { sysctl: { 'net.ipv4.ip_forward': '1' } },
    { newer: true, allowlist: '\n \n' },
  ),
  scenario('another sysctl', { sysctl: { 'kernel.hostname': 'x' } }),
  scenario('an unknown sysctl', { sysctl: { 'net.ipv4.conf.nowhere.arp_filter': '1' } }),
  scenario('no result', { prevResult: null }),
  scenario('another interface', { mtu: 1400 }, { attachments: [{ container: 'blue', ifName: 'eth7' }] }),
]

const before = (cniVersion: string): JsonObject => ({
  cniVersion,
  interfaces: [{ name: 'eth0', mac: mac('00'), sandbox: '/run/netns/blue' }],
  ips: [{ ...(cniVersion < '1.0.0' ? { version: '4' } : {}), address: '10.9.0.5/24', interface: 0 }],
  dns: { nameservers: ['10.9.0.1'] },
})

const prepare = async ({ allowlist }: Tuning, binDir: string): Promise<Side> => {
  const on = await side(binDir)
  // The machine's own list is nobody's business here.
  const hide = '! [ -d /etc/cni ] || mount -t tmpfs tmpfs /etc/cni'
  const place = [
    'mkdir /run/etc; cp -a /etc/. /run/etc; mount --bind /run/etc /etc; rm -rf /etc/cni',
    'mkdir -p /etc/cni/tuning; cat >/etc/cni/tuning/allowlist.conf',
  ].join('\n')
  await on.host.must('sh', ['-ec', allowlist === undefined ? hide : place], { input: allowlist ?? '' })
  const blue = await on.container('blue')
  await blue.ip('link', 'add', 'eth0', 'address', mac('00'), 'type', 'veth', 'peer', 'name', 'eth1')
  await blue.ip('link', 'set', 'eth0', 'up')
  return on
}

const look = async (on: Side) => {
  const blue = await on.container('blue')
  const [link] = await blue.ipJson<Record<string, unknown>>('-d', 'link', 'show', 'eth0')
  const { address, mtu, txqlen, flags, promiscuity } = link!
  const names = ['conf/eth0/arp_filter', 'ip_local_port_range', 'ip_forward']
  const sysctls = await Promise.all(names.map((name) => blue.sysctl(`net/ipv4/${name}`)))
  const { stdout } = await on.host.run('sh', ['-c', 'cd /run/cni/tuning 2>/dev/null && cat *'])
  const { linkwright: _own, ...kept } = stdout === '' ? {} : (JSON.parse(stdout) as JsonObject)
  return { link: { address, mtu, txqlen, flags, promiscuity }, sysctls, kept }
}

/** One verb on the container. */
const step = async (
  on: Side,
  one: Tuning,
  command: string,
  more: JsonObject = {},
  binDir?: string,
): Promise<PluginRun> => {
  const [attachment = { container: 'blue' }] = one.attachments ?? []
  const prevResult = before(String(one.conf.cniVersion ?? '1.0.0'))
  return await on.run(command, attachment, { prevResult, ...one.conf, ...more }, binDir)
}

/** Without what results of 1.1.0 and errors tell here on purpose. */
const told = ({ status, result, error }: PluginRun) => ({
  status,
  msg: error?.msg,
  result: result && { ...result, interfaces: result.interfaces?.map(({ mtu: _mtu, ...one }) => one) },
})

const play = async (one: Tuning, binDir: string) => {
  const on = await prepare(one, binDir)
  const fresh = await look(on)
  const add = await step(on, one, 'ADD')
  const added = await look(on)
  const more = add.result ? { prevResult: add.result as never } : {}
  const check = one.conf.cniVersion === '0.3.1' ? null : await step(on, one, 'CHECK', more)
  const del = await step(on, one, 'DEL', more)
  const { link, kept } = await look(on)
  return { fresh, runs: { add: told(add), check: check && told(check), del: told(del) }, added, link, kept }
}

describe.each(comparedOf(scenarios))('$title', (one) => {
  test('is the same', async () => {
    const [go, ours] = await Promise.all([play(one, mustPeerOf(one)), play(one, binDirs.ours)])
    expect(ours.runs.add.status).toBe(0)
    expect(ours).toEqual(go)
    expect(ours.link).toEqual(ours.fresh.link)
  })
})

describe.each(comparedOf(refused))('refused: $title', (one) => {
  test('as Go does it', async () => {
    const [go, ours] = await Promise.all(
      [mustPeerOf(one), binDirs.ours].map(async (dir) => {
        const on = await prepare(one, dir)
        const add = await step(on, one, 'ADD')
        // Newer ones of Go tell the name as they have made it a path.
        const msg = add.error?.msg.replace('kernel/hostname', 'kernel.hostname')
        return { status: add.status, msg, ...(await look(on)) }
      }),
    )
    expect(ours).toEqual(go)
    expect(ours!.status).toBe(1)
  })
})

describe.each(comparedOf(scenarios.filter(({ title }) => ['all', 'txQLen'].includes(title))))(
  '$title',
  (one) => {
    test.each([
      ['ours after Go', mustPeerOf(one), binDirs.ours],
      ['Go after ours', binDirs.ours, mustPeerOf(one)],
    ])('%s', async (_title, first, then) => {
      const on = await prepare(one, first)
      const fresh = await look(on)
      const { result } = await step(on, one, 'ADD')
      const more = { prevResult: result as never }
      expect((await step(on, one, 'CHECK', more, then)).error).toBeNull()
      expect((await step(on, one, 'DEL', more, then)).error).toBeNull()
      const after = await look(on)
      // Sysctls are ours alone to give back.
      expect({ ...after, sysctls: [] }).toEqual({ ...fresh, sysctls: [] })
    })
  },
)

test('all are compared where the newer plugins are; npm test says so where not', () => {
  const both = [...scenarios, ...refused]
  const compared = both.filter((one) => peerOf(one) !== null).length
  expect(compared === both.length || !existsSync(`${binDirs.goNewer}/tuning`)).toBe(true)
})
