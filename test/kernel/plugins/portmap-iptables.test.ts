/** What is special to the iptables backend: the Go plugin's rules, chains that attachments share, the old xtables. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { NETLINK_NETFILTER, Netns } from '../../../netlink/netns.ts'
import { dnatChain, entryComment, oldSnatChain } from '../../../plugins/portmap/iptables-names.ts'
import { plainEnv } from '../../support/program.ts'
import { errorOf, type Node, node, unheard } from './node.ts'
import { attached, portmapConf, tcp, udp } from './portmap.ts'

/** Rules of a nat table as the program prints them, the kernel's chains left out. */
const nat = async ({ host }: Node, program = 'iptables'): Promise<string[]> =>
  (await host.must(program, ['-t', 'nat', '-S']))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('-P'))

const temporary = (): string => {
  const directory = mkdtempSync(join(tmpdir(), 'portmap-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  return directory
}

const conf = (...args: Parameters<typeof portmapConf>): JsonObject => ({
  ...portmapConf(...args),
  backend: 'iptables',
})

const chain = dnatChain('net', 'cid-2')
const comment = (id = 'cid-2') => entryComment('net', id).replaceAll('"', '\\"')

test('its rules are those that other tools read, made by one process a family', async () => {
  const it = await node()
  const a = await attached(it, 2)
  const bin = temporary()
  const log = join(bin, 'log')
  for (const name of ['iptables', 'ip6tables', 'iptables-restore', 'ip6tables-restore'])
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >>${log}\nexec /usr/sbin/${name} "$@"\n`, {
      mode: 0o755,
    })
  it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
  const many = Array.from({ length: 16 }, (_, i) => tcp(9001 + i, 1 + i))
  await it.add(conf([...many, udp(5353, 53), tcp(8443, 443, '192.0.2.1')]), a)
  const ran = readFileSync(log, 'utf8').split('\n').slice(0, -1)
  expect(ran.filter((line) => !line.includes(' -S '))).toEqual([
    'iptables-restore --wait --noflush',
    'ip6tables-restore --wait --noflush',
  ])
  // One chain each, whatever else is in the table.
  expect(ran.length).toBeLessThanOrEqual(2 * 8)
  // Who comes next finds the shared chains over netlink.
  const b = await attached(it, 3)
  writeFileSync(log, '')
  await it.add(conf([tcp(80, 80)]), b)
  expect(readFileSync(log, 'utf8')).toBe(
    'iptables-restore --wait --noflush\nip6tables-restore --wait --noflush\n',
  )
  await it.check(conf([tcp(80, 80)]), b)
  await it.del({ type: 'portmap' }, b)
  const rules = await nat(it)
  const shared = rules.filter((line) => !line.includes('CNI-DN-'))
  expect(shared.sort()).toEqual([
    '-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE',
    '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
    '-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
    '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
    '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
    '-N CNI-HOSTPORT-DNAT',
    '-N CNI-HOSTPORT-MASQ',
    '-N CNI-HOSTPORT-SETMARK',
  ])
  const ports = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i).join(',')
  const entry = (protocol: string, list: string) =>
    `-A CNI-HOSTPORT-DNAT -p ${protocol} -m comment --comment "${comment()}" -m multiport --dports ${list} -j ${chain}`
  expect(rules.filter((line) => line.startsWith('-A CNI-HOSTPORT-DNAT'))).toEqual([
    entry('tcp', `8443,${ports(9001, 9014)}`),
    entry('tcp', ports(9015, 9016)),
    entry('udp', '5353'),
  ])
  const own = rules
    .filter((line) => line.startsWith(`-A ${chain} `))
    .map((line) => line.slice(`-A ${chain} `.length))
  expect(own).toHaveLength(3 * 18)
  expect(own.slice(0, 3)).toEqual([
    '-s 10.22.0.0/16 -d 192.0.2.1/32 -p tcp -m tcp --dport 8443 -j CNI-HOSTPORT-SETMARK',
    '-s 127.0.0.1/32 -d 192.0.2.1/32 -p tcp -m tcp --dport 8443 -j CNI-HOSTPORT-SETMARK',
    '-d 192.0.2.1/32 -p tcp -m tcp --dport 8443 -j DNAT --to-destination 10.22.0.2:443',
  ])
  const own6 = (await nat(it, 'ip6tables')).filter((line) => line.startsWith(`-A ${chain} `))
  expect(own6).toHaveLength(2 * 17)
  expect(own6.slice(-2)).toEqual([
    `-A ${chain} -s fd00:22::/64 -p udp -m udp --dport 5353 -j CNI-HOSTPORT-SETMARK`,
    `-A ${chain} -p udp -m udp --dport 5353 -j DNAT --to-destination [fd00:22::2]:53`,
  ])
})

test('marks: another bit, a chain of somebody else, none', async () => {
  const it = await node()
  const a = await attached(it, 2)
  const marks = async () =>
    (await nat(it))
      .filter((line) => /MARK|MASQ/.test(line) && !line.startsWith('-N'))
      .map((line) => line.replace(/.* -j /, ''))
  await it.add(conf([tcp(80, 80)], { markMasqBit: 4 }), a)
  expect(await marks()).toEqual([
    'CNI-HOSTPORT-MASQ',
    ...Array(2).fill('CNI-HOSTPORT-SETMARK'),
    'MASQUERADE',
    'MARK --set-xmark 0x10/0x10',
  ])
  // One network's bit is everybody's: the chains are shared.
  await it.add(conf([tcp(80, 80)], { masqAll: true }), a)
  expect(await marks()).toEqual([
    'CNI-HOSTPORT-MASQ',
    'CNI-HOSTPORT-SETMARK',
    'MASQUERADE',
    'MARK --set-xmark 0x2000/0x2000',
  ])
  const external = conf([tcp(80, 80)], { externalSetMarkChain: 'KUBE-MARK-MASQ' })
  const before = await nat(it)
  // The chain is the owner's to make.
  expect((await errorOf(it.add(external, { ...a, containerId: 'another' }))).msg).toMatch(
    /KUBE-MARK-MASQ|restore/,
  )
  expect(await nat(it)).toEqual(before)
  for (const program of ['iptables', 'ip6tables'])
    await it.host.must(program, ['-t', 'nat', '-N', 'KUBE-MARK-MASQ'])
  await it.add(external, a)
  expect((await nat(it)).filter((line) => line.endsWith('-j KUBE-MARK-MASQ'))).toHaveLength(2)
  await it.check(external, a)
  await it.add(conf([tcp(80, 80)], { snat: false }), a)
  expect((await nat(it)).filter((line) => line.startsWith(`-A ${chain}`))).toHaveLength(1)
})

test('two attachments of a container to a network share a chain, not its fate', async () => {
  const it = await node()
  const a = await attached(it, 2)
  const second = { ...a, ifName: 'eth1' }
  await a.container.ip('link', 'add', 'eth1', 'type', 'veth', 'peer', 'name', 'elsewhere')
  await a.container.ip('address', 'add', '10.22.0.9/16', 'dev', 'eth1')
  const ofEth1 = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'eth1', sandbox: a.container.path }],
    ips: [{ address: '10.22.0.9/16', interface: 0 }],
  }
  const first = conf([tcp(80, 80), tcp(81, 80)])
  await it.add(first, a)
  const alone = await nat(it)
  const other = { ...second, prevResult: ofEth1 }
  await it.add(conf([tcp(90, 80)]), other)
  await it.check(first, a)
  await it.check(conf([tcp(90, 80)]), other)
  await it.del({ type: 'portmap' }, second)
  expect((await nat(it)).sort()).toEqual(alone.sort())
  await it.add(conf([tcp(90, 80)]), other)
  await expect(it.add(conf([tcp(91, 80)]), { ...other, deliver: unheard })).rejects.toThrow('nobody listens')
  expect((await nat(it)).sort()).toEqual(alone.sort())
  await it.add(conf([tcp(90, 80)]), other)
  await it.del({ type: 'portmap' }, a)
  expect((await nat(it)).filter((line) => line.includes('10.22.0.2'))).toEqual([])
  await it.check(conf([tcp(90, 80)]), other)
  // Without a namespace nothing is left of either.
  await it.del({ type: 'portmap' }, { containerId: a.containerId })
  expect((await nat(it)).filter((line) => line.includes('CNI-DN-'))).toEqual([])
})

/** The rules of the Go plugin, of a container whose runtime forgot the mappings at DEL. */
const asGo = async ({ host }: Node, program: string, id: string): Promise<void> => {
  const own = dnatChain('net', id)
  const old = oldSnatChain('net', id)
  for (const name of ['CNI-HOSTPORT-DNAT', 'CNI-HOSTPORT-SNAT'])
    await host.run(program, ['-t', 'nat', '-N', name])
  for (const args of [
    ['-N', own],
    ['-N', old],
    [
      '-A',
      'CNI-HOSTPORT-DNAT',
      '-m',
      'comment',
      '--comment',
      entryComment('net', id),
      '-m',
      'multiport',
      '-p',
      'tcp',
      '--destination-ports',
      '8080',
      '-j',
      own,
    ],
    ['-A', own, '-p', 'tcp', '--dport', '8080', '-j', 'DNAT', '--to-destination', '10.22.0.77:80'],
    ['-A', 'CNI-HOSTPORT-SNAT', '-m', 'comment', '--comment', `snat name: "net" id: "${id}"`, '-j', old],
    ['-A', old, '-s', '127.0.0.1', '-d', '10.22.0.77', '-p', 'tcp', '--dport', '80', '-j', 'RETURN'],
  ])
    await host.must(program, ['-t', 'nat', ...args])
}

describe.each(['iptables', 'iptables-legacy'])('chains of the Go plugins in %s', (program) => {
  test('are removed by their owner, and collected; others stay', async () => {
    const it = await node()
    await it.host.must(program, ['-t', 'nat', '-N', 'CNI-HOSTPORT-DNAT'])
    await it.host.must(program, ['-t', 'nat', '-N', 'CNI-HOSTPORT-SNAT'])
    await it.host.must(program, [
      '-t',
      'nat',
      '-A',
      'CNI-HOSTPORT-DNAT',
      '-p',
      'tcp',
      '--dport',
      '8080',
      '-j',
      'RETURN',
    ])
    const empty = await nat(it, program)
    await asGo(it, program, 'kept')
    const before = await nat(it, program)
    await asGo(it, program, 'cid-1')
    await it.del({ type: 'portmap' }, {})
    expect(await nat(it, program)).toEqual(before)
    await it.del({ type: 'portmap' }, {})
    for (const id of ['cid-1', 'cid-2']) await asGo(it, program, id)
    const gc = (...ids: string[]) =>
      it.call('GC', {
        type: 'portmap',
        'cni.dev/valid-attachments': ids.map((containerID) => ({ containerID, ifname: 'eth0' })),
      })
    await gc('kept')
    expect(await nat(it, program)).toEqual(before)
    await gc()
    expect(await nat(it, program)).toEqual(empty)
  })
})

describe("in a kernel without netfilter's netlink", () => {
  test('the old xtables are used by themselves, in every verb', async () => {
    const it = await node()
    const a = await attached(it, 2)
    const bin = temporary()
    for (const name of ['iptables', 'ip6tables', 'iptables-restore', 'ip6tables-restore'])
      symlinkSync(`/usr/sbin/${name.replace('tables', 'tables-legacy')}`, join(bin, name))
    it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
    const { connect } = Netns.prototype
    const spy = vi.spyOn(Netns.prototype, 'connect').mockImplementation(function (this: Netns, options = {}) {
      if (options.protocol === NETLINK_NETFILTER)
        throw Object.assign(new Error('socket: EPROTONOSUPPORT'), { code: 'EPROTONOSUPPORT' })
      return connect.call(this, options)
    })
    onTestFinished(() => spy.mockRestore())
    const own = portmapConf([tcp(8080, 80), udp(5353, 53)])
    await it.call('STATUS', { type: 'portmap' })
    expect((await errorOf(it.call('STATUS', { type: 'portmap', backend: 'nftables' }))).code).toBe(50)
    await it.add(own, a)
    expect(await nat(it, 'iptables-legacy')).toContain(
      `-A ${chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.22.0.2:80`,
    )
    await it.check(own, a)
    expect(it.warnings).toEqual([expect.stringMatching(/UDP flows/)])
    await it.del({ type: 'portmap' }, { containerId: 'cid-2' })
    expect((await nat(it, 'iptables-legacy')).filter((line) => line.includes('CNI-DN-'))).toEqual([])
    await it.add(own, a)
    await it.call('GC', { type: 'portmap', 'cni.dev/valid-attachments': [] })
    for (const program of ['iptables-legacy', 'ip6tables-legacy'])
      expect((await nat(it, program)).filter((line) => line.includes('CNI-DN-'))).toEqual([])
    expect((await errorOf(it.check(own, a))).msg).toMatch(/^port mappings: missing /)
    expect((await errorOf(it.add(portmapConf([tcp(80, 80)], { backend: 'nftables' }), a))).msg).toMatch(
      /EPROTONOSUPPORT/,
    )
  })

  test('and without the program there is nothing to work with', async () => {
    const it = await node()
    const a = await attached(it, 2)
    const bin = temporary()
    for (const name of ['iptables', 'iptables-restore'])
      writeFileSync(join(bin, name), '#!/bin/sh\necho "no such table" >&2\nexit 3\n', { mode: 0o755 })
    it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
    expect((await errorOf(it.call('STATUS', { type: 'portmap', backend: 'iptables' }))).code).toBe(50)
    const { msg } = await errorOf(it.add(conf([tcp(80, 80)]), a))
    expect(msg).toMatch(/^failed to map ports: iptables -t nat -S .*no such table/)
  })
})
