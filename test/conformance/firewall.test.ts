/** The firewall plugin and Go's, of 2022 and of today: the same results, errors and rules, and each ends what the other began. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PrintedResult, runPlugin } from '../support/plugin.ts'
import { type PrivateHost, privateHost } from '../support/space.ts'

const peers = Object.entries({ '1.1.1': binDirs.go, '1.9.1': binDirs.goNewer }).filter(([, dir]) =>
  existsSync(`${dir}/firewall`),
)

interface Scenario {
  readonly title: string
  readonly conf?: JsonObject
  /** Of each attachment. Default: one of each family. */
  readonly addresses?: readonly (readonly string[])[]
  /** Default `cni0`. */
  readonly bridge?: string
  /** Run on the host before. */
  readonly prepare?: string
  /** What Go's of 2022 does not know. */
  readonly newer?: boolean
}

const both = ['10.1.2.3/24', 'fd00:1::3/64']

const two = [
  [...both, '10.7.0.1/8'],
  ['10.1.2.4/32', 'fd00:1::4/128'],
]

const scenarios: readonly Scenario[] = [
  { title: 'two attachments of several addresses', addresses: two },
  { title: '0.4.0, no address', conf: { cniVersion: '0.4.0' }, addresses: [[]] },
  {
    title: "a host with rules, policies and an operator's chain of its own",
    conf: { IptablesAdminChainname: 'SITE-RULES', zone: 'y', BackEnd: 'z' },
    prepare: `
      for i in iptables ip6tables; do
        $i -P FORWARD DROP
        $i -P INPUT DROP
        $i -A FORWARD -i lo -j ACCEPT
        $i -N SITE-RULES
        $i -A SITE-RULES -p tcp --dport 22 -j RETURN
      done`,
  },
  { title: 'same-bridge', conf: { ingressPolicy: 'same-bridge' } },
  {
    title: 'isolated, two attachments of a bridge with a long name',
    conf: { ingressPolicy: 'isolated' },
    addresses: [['10.1.2.3/24'], ['10.1.2.4/24']],
    bridge: 'bridge-of-15-by',
    newer: true,
  },
  { title: 'iptables by execution', conf: { backend: 'iptables' } },
]

/** Rules and chains of the filter tables; what only ours knows left out. */
const tables = async (host: PrivateHost): Promise<string[]> => {
  const text = `${await host.must('iptables-save', ['-t', 'filter'])}${await host.must('ip6tables-save', ['-t', 'filter'])}`
  return (
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#') && !line.includes('LINKWRIGHT-OWNERS'))
      // Go's of 2022 knew one policy, and named no other.
      .map((line) => line.replace(/ \[\d+:\d+\]$/, '').replace('same-bridge|isolated', 'same-bridge'))
  )
}

const sideOf = async ({ conf = {}, addresses = [both], bridge = 'cni0', prepare = '' }: Scenario) => {
  const host = await privateHost()
  await host.must('sh', ['-ec', `ip link add ${bridge} type bridge\n${prepare}`])
  const container = await host.container()
  const run = (binDir: string, command: string, index: number, more: JsonObject = {}) => {
    const prevResult: PrintedResult = {
      cniVersion: String(conf.cniVersion ?? '1.0.0'),
      interfaces: [{ name: bridge }, { name: 'veth0' }, { name: 'eth0', sandbox: container.sandbox }],
      ips: (addresses[index] ?? []).map((address) => ({
        address,
        interface: 2,
      })),
      dns: { nameservers: ['9.9.9.9'] },
    }
    const own = { cniVersion: '1.0.0', name: 'net', type: 'firewall', ...conf, prevResult, ...more }
    return runPlugin({
      ...{ host, binDir, type: 'firewall', command, conf: own, netns: container },
      containerId: `c${index}`,
    })
  }
  return { host, run, count: addresses.length }
}

const succeed = async (run: ReturnType<typeof runPlugin>) => {
  const { error, result } = await run
  expect(error).toBeNull()
  return result
}

describe.each(peers)('Go %s', (_, peer) => {
  const known = scenarios.filter(({ newer }) => !newer || peer === binDirs.goNewer)

  test.each(known)('$title: results and rules', async (scenario) => {
    const play = async (binDir: string) => {
      const { host, run, count } = await sideOf(scenario)
      const seen: unknown[] = []
      for (let i = 0; i < count; i++) seen.push(await succeed(run(binDir, 'ADD', i)))
      // Again: nothing twice.
      await succeed(run(binDir, 'ADD', 0))
      seen.push(await tables(host))
      await succeed(run(binDir, 'CHECK', 0))
      for (let i = 0; i < count; i++) await succeed(run(binDir, 'DEL', i))
      await succeed(run(binDir, 'DEL', 0))
      seen.push((await tables(host)).filter((line) => !/-[io] (cni0|bridge)/.test(line)))
      return seen
    }
    const [go, ours] = await Promise.all([peer, binDirs.ours].map(play))
    expect(ours).toEqual(go)
  })

  test.each(known.filter(({ addresses }) => addresses && addresses.length > 1))(
    '$title: each ends what the other began',
    async (scenario) => {
      const swap = async (first: string, second: string): Promise<void> => {
        const { host, run, count } = await sideOf(scenario)
        for (let i = 0; i < count; i++) await succeed(run(first, 'ADD', i))
        const made = await tables(host)
        for (let i = 0; i < count; i++) await succeed(run(second, 'CHECK', i))
        // Nothing is missing of it for the other one.
        for (let i = 0; i < count; i++) await succeed(run(second, 'ADD', i))
        const rules = (lines: string[]) => [...new Set(lines)].sort()
        expect(rules(await tables(host))).toEqual(rules(made))
        for (let i = 0; i < count; i++) await succeed(run(second, 'DEL', i))
        // Ours have made a permit of their own, beside Go's.
        for (let i = 0; i < count; i++) await succeed(run(binDirs.ours, 'DEL', i))
        expect((await tables(host)).filter((line) => /-[sd] (10|fd00:)/.test(line))).toEqual([])
      }
      await Promise.all([swap(peer, binDirs.ours), swap(binDirs.ours, peer)])
    },
  )

  test.each(['ours', 'go'] as const)('DEL alone, of what %s did not make', async (who) => {
    const [maker, remover] = who === 'ours' ? [peer, binDirs.ours] : [binDirs.ours, peer]
    const { host, run } = await sideOf({ title: '' })
    await succeed(run(maker, 'ADD', 0))
    await succeed(run(remover, 'DEL', 0))
    expect((await tables(host)).filter((line) => /-[sd] (10|fd00:)/.test(line))).toEqual([])
  })

  test.each([
    ['no result', { prevResult: null }, ['ADD', 'CHECK']],
    ['an unknown policy', { ingressPolicy: 'closed' }, ['ADD']],
  ] as const)('%s: the same words', async (_title, more, commands) => {
    const { run } = await sideOf({ title: '' })
    for (const command of commands) {
      const [go, ours] = await Promise.all(
        [peer, binDirs.ours].map((dir) => run(dir, command, 0, more as unknown as JsonObject)),
      )
      expect(ours!.error?.msg).toBe(go!.error?.msg)
      expect([ours!.status, go!.status]).toEqual([1, 1])
    }
  })
})
