/** portmap by its verbs, in both backends: what it makes, notices, makes again and takes away. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Attachment } from '../../../cni/plugin.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { portmap } from '../../../plugins/portmap/index.ts'
import { plainEnv } from '../../support/program.ts'
import { errorOf, type Node, node, unheard } from './node.ts'
import { type Attached, attached, type Mapping, portmapConf, tcp, udp } from './portmap.ts'

const backends = ['nftables', 'iptables'] as const
type Backend = (typeof backends)[number]

const localnet = 'net/ipv4/conf/cni0/route_localnet'

/** The rule sets, without what all containers share. */
const rules = async ({ host }: Node): Promise<string[]> => {
  const script =
    'iptables -t nat -S; ip6tables -t nat -S; nft -s list table ip cni_hostport; nft -s list table ip6 cni_hostport'
  const { stdout } = await host.run('sh', ['-c', script])
  return stdout.split('\n').filter((line) => /CNI-DN-|cid|10\.22\.|fd00:22/.test(line))
}

/** The programs that plugins run from now on: `iptables -S …`. */
const watched = (it: Node): (() => string[]) => {
  const bin = mkdtempSync(join(tmpdir(), 'portmap-'))
  onTestFinished(() => rmSync(bin, { recursive: true }))
  const log = join(bin, 'log')
  writeFileSync(log, '')
  for (const name of [
    'iptables',
    'ip6tables',
    'iptables-restore',
    'ip6tables-restore',
    'iptables-legacy',
    'ip6tables-legacy',
    'conntrack',
    'nft',
    'sysctl',
  ])
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >>${log}\nexec /usr/sbin/${name} "$@"\n`, {
      mode: 0o755,
    })
  it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
  return () => {
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1)
    writeFileSync(log, '')
    return lines
  }
}

const mappings: readonly Mapping[] = [tcp(8080, 80), udp(5353, 53), { ...tcp(8443, 443), protocol: 'SCTP' }]

/** Each takes one thing away. */
const lossesOfIptables = [
  'iptables -t nat -F CNI-HOSTPORT-DNAT',
  'iptables -t nat -F CNI-HOSTPORT-SETMARK; ip6tables -t nat -F CNI-HOSTPORT-MASQ',
  'iptables -t nat -F PREROUTING; ip6tables -t nat -F OUTPUT; iptables -t nat -F POSTROUTING',
  'nft flush ruleset',
  'iptables -t nat -D $(iptables -t nat -S | grep "^-A CNI-DN-.*dport 5353 -j DNAT" | cut -d" " -f2-)',
]
const lossesOfNftables = [
  'nft delete table ip6 cni_hostport',
  'nft flush chain ip cni_hostport portmap',
  'nft flush chain ip cni_hostport portmap_prerouting',
  'nft flush chain ip6 cni_hostport portmap_output',
  'nft flush chain ip cni_hostport portmap_postrouting',
  'nft flush map ip cni_hostport portmap_any',
  'nft flush set ip cni_hostport portmap_snat_16',
  'nft delete element ip6 cni_hostport portmap_any { udp . 5353 }',
]

/** What the plugin says of making good. */
const repaired = async (it: Node, conf: JsonObject, a: Attached): Promise<readonly string[]> => {
  let words: readonly string[] = []
  const repairing = {
    ...portmap,
    check: async (attachment: Attachment<never>) => {
      words = await portmap.repair!(attachment)
    },
  }
  const { options } = it
  it.options = { ...options, plugins: new Map([['portmap', repairing]]) }
  await it.check(conf, a)
  it.options = options
  return words
}

const one = async (it: Node, n = 2): Promise<Attached> => attached(it, n)

describe('without mappings', () => {
  test('nothing is done', async () => {
    const it = await node()
    const a = await one(it)
    const ran = watched(it)
    const state = () =>
      it.host.must('sh', ['-c', 'nft list ruleset; cat /proc/sys/net/ipv4/conf/*/route_localnet'])
    const before = await state()
    for (const conf of [{ type: 'portmap' }, portmapConf([]), portmapConf([], { backend: 'iptables' })]) {
      expect(await it.add(conf, a)).toEqual(a.prevResult)
      await it.check(conf, a)
      await it.del(conf, a)
    }
    expect(ran()).toEqual([])
    expect(await state()).toBe(before)
  })

  test('a container without addresses', async () => {
    const it = await node()
    const container = await it.host.container()
    const prevResult = await it.add({ bridge: 'cni0' }, { container })
    expect(await it.add(portmapConf(mappings), { container, prevResult })).toEqual(prevResult)
    expect(it.warnings).toEqual(['eth0 has no address: no port leads to it'])
  })
})

test('refused before anything is done', async () => {
  const it = await node()
  const { prevResult, ...a } = await one(it)
  for (const [conf, more, msg] of [
    [portmapConf(mappings), {}, 'must be called as chained plugin'],
    [
      portmapConf([{ ...tcp(80, 80), protocol: 'udplite' }], { backend: 'iptables' }),
      { prevResult },
      'iptables can not map port 80 of udplite',
    ],
    [
      portmapConf(mappings, { conditionsV4: ['ip', 'saddr', 'of', 'somebody'] }),
      { prevResult },
      expect.stringMatching(/^failed to parse config: conditionsV4: /),
    ],
  ] as const) {
    const { code, msg: said } = await errorOf(it.add(conf, { ...a, ...more }))
    expect({ code, said }).toEqual({ code: 7, said: msg })
    expect(await rules(it)).toEqual([])
    // Whatever it says by now, what is there can be removed.
    await it.del(conf, a)
  }
})

describe.each(backends)('%s', (backend: Backend) => {
  const conf = portmapConf(mappings, { backend })

  test('ADD is the same when it is repeated, and another after a change', async () => {
    const it = await node()
    const a = await one(it)
    await it.add(conf, a)
    const first = await rules(it)
    expect(first.length).toBeGreaterThan(4)
    await it.add(conf, a)
    expect(await rules(it)).toEqual(first)
    await it.add(portmapConf([tcp(9090, 80)], { backend }), a)
    const text = (await rules(it)).join('\n')
    expect(text).toContain('9090')
    expect(text).not.toMatch(/8080|5353/)
  })

  test('a new address takes the place of the old one', async () => {
    const it = await node()
    const a = await one(it)
    await it.add(conf, a)
    // The container was restarted under its id, and nobody has cleaned up: its address has gone with the interface.
    await it.del({ bridge: 'cni0' }, a)
    const prevResult = JSON.parse(
      JSON.stringify(a.prevResult).replaceAll('10.22.0.2/', '10.22.0.9/'),
    ) as typeof a.prevResult
    await it.add(conf, { ...a, prevResult })
    const text = (await rules(it)).join('\n')
    expect(text).toContain('10.22.0.9')
    expect(text).not.toMatch(/10\.22\.0\.2\b/)
  })

  test('DEL knows its own without configuration, result and namespace', async () => {
    const it = await node()
    const [a, b] = [await one(it, 2), await one(it, 3)]
    await it.add(portmapConf([tcp(8090, 80)], { backend }), b)
    const before = await rules(it)
    await it.add(conf, a)
    const ran = watched(it)
    await it.del({ type: 'portmap', backend: 'nonsense', runtimeConfig: 7 }, { containerId: a.containerId })
    expect(await rules(it)).toEqual(before)
    await it.del({ type: 'portmap' }, { containerId: a.containerId })
    expect(ran()).toEqual([])
    await it.check(portmapConf([tcp(8090, 80)], { backend }), b)
    expect(await it.host.sysctl(localnet)).toBe('1')
  })

  test('what another backend has of it goes with ADD', async () => {
    const it = await node()
    const a = await one(it)
    await it.add(portmapConf(mappings, { backend: backend === 'iptables' ? 'nftables' : 'iptables' }), a)
    await it.add(conf, a)
    const now = await rules(it)
    await it.del({ type: 'portmap' }, a)
    await it.add(conf, a)
    expect(await rules(it)).toEqual(now)
  })

  test('an ADD that fails leaves nothing', async () => {
    const it = await node()
    const [a, b] = [await one(it, 2), await one(it, 3)]
    await expect(it.add(conf, { ...a, deliver: unheard })).rejects.toThrow('nobody listens')
    expect(await rules(it)).toEqual([])
    // The bridge has a port besides, whose container may rely on it already.
    expect(await it.host.sysctl(localnet)).toBe('1')
    await it.host.must('sh', ['-c', `echo 0 >/proc/sys/${localnet}`])
    await it.del({ bridge: 'cni0' }, b)
    await expect(it.add(conf, { ...a, deliver: unheard })).rejects.toThrow('nobody listens')
    expect(await it.host.sysctl(localnet)).toBe('0')
  })

  test('GC removes what is not in the list, of this network', async () => {
    const it = await node()
    const [a, b] = [await one(it, 2), await one(it, 3)]
    await it.add(portmapConf([tcp(8090, 80)], { backend }), b)
    await it.add(portmapConf([tcp(8091, 80)], { backend, name: 'another' }), b)
    const before = await rules(it)
    await it.add(conf, a)
    const gc = {
      type: 'portmap',
      'cni.dev/valid-attachments': [{ containerID: b.containerId, ifname: 'eth0' }],
    }
    const ran = watched(it)
    await it.call('GC', gc)
    expect(await rules(it)).toEqual(before)
    await it.call('GC', { ...gc, 'cni.dev/valid-attachments': [] })
    const left = (await rules(it)).join('\n')
    expect(left).toContain('8091')
    expect(left).not.toContain('8090')
    expect(ran()).toEqual([])
  })

  test('CHECK notices every loss, and repair makes it good', async () => {
    const it = await node()
    const a = await one(it)
    await it.add(conf, a)
    const whole = await rules(it)
    const losses = backend === 'iptables' ? lossesOfIptables : ['nft flush ruleset', ...lossesOfNftables]
    for (const loss of [`echo 0 >/proc/sys/${localnet}`, ...losses]) {
      await it.host.must('sh', ['-ec', loss])
      const { code, msg } = await errorOf(it.check(conf, a))
      expect({ loss, code, msg }).toEqual({
        loss,
        code: 999,
        msg: expect.stringMatching(/^port mappings: missing /),
      })
      const missing = await repaired(it, conf, a)
      expect(missing, loss).not.toEqual([])
      await it.check(conf, a)
    }
    expect(await rules(it)).toEqual(whole)
    expect(await repaired(it, conf, a)).toEqual([])
  })

  test('who has lost a port to another does not take it back', async () => {
    const it = await node()
    const [a, b] = [await one(it, 2), await one(it, 3)]
    await it.add(conf, a)
    await it.add(conf, b)
    const now = await rules(it)
    expect(await repaired(it, conf, a)).toEqual([])
    expect(await rules(it)).toEqual(now)
    await it.check(conf, b)
  })

  test('STATUS', async () => {
    const it = await node()
    expect(await it.call('STATUS', { type: 'portmap', backend })).toBeNull()
  })
})
