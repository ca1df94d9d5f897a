/** The iptables backend, and what DEL and GC do about rules that it or the Go plugins have left. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { chainName, ruleComment } from '../../../plugins/shared/masquerade-iptables-names.ts'
import { classic, fixed, type Node, node } from './node.ts'

const conf: JsonObject = { ...classic, ipMasqBackend: 'iptables' }

/** Rules of the nat tables as the program prints them, chains of the kernel's left out. */
const nat = async ({ host }: Node, program = 'iptables'): Promise<string[]> =>
  (await host.must(program, ['-t', 'nat', '-S']))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('-P'))

const strange = ['-A', 'POSTROUTING', '-s', '192.0.2.0/24', '-j', 'MASQUERADE']

/** The rules of the Go plugins for an address of a container. */
const asGo = async ({ host }: Node, program: string, containerId: string, source: string): Promise<void> => {
  const chain = chainName('net', containerId)
  const comment = ['-m', 'comment', '--comment', ruleComment('net', containerId)]
  await host.run(program, ['-t', 'nat', '-N', chain])
  for (const rule of [
    [chain, '-d', '10.22.0.0/16', '-j', 'ACCEPT'],
    [chain, '!', '-d', '224.0.0.0/4', '-j', 'MASQUERADE'],
    ['POSTROUTING', '-s', source, '-j', chain],
  ])
    await host.must(program, ['-t', 'nat', '-A', ...rule, ...comment])
}

describe('masquerade by iptables', () => {
  test('of two addresses of a family: neither subnet is masqueraded', async () => {
    const it = await node()
    const container = await it.host.container()
    const own = {
      ...fixed('10.9.0.5/24'),
      ipMasq: true,
      ipMasqBackend: 'iptables',
      isGateway: false,
      ipam: { type: 'static', addresses: [{ address: '10.9.0.5/24' }, { address: '172.20.0.5/16' }] },
    }
    const prevResult = await it.add(own, { container })
    const inChain = (await nat(it)).filter((line) => line.startsWith('-A CNI-'))
    expect(inChain.map((line) => line.replace(/.* -j /, ''))).toEqual(['ACCEPT', 'ACCEPT', 'MASQUERADE'])
    await it.check(own, { container, prevResult })
    await it.del(own, { container, prevResult })
    expect(await nat(it)).toEqual([])
  })

  test('an ADD that fails leaves no rule of it', async () => {
    const it = await node()
    const container = await it.host.container()
    await it.host.must('iptables', ['-t', 'nat', ...strange])
    const before = await nat(it)
    await expect(
      it.add(conf, {
        container,
        deliver: () => {
          throw new Error('nobody listens')
        },
      }),
    ).rejects.toThrow('nobody listens')
    expect(await nat(it)).toEqual(before)
  })

  test('attachments of a container that are deleted at the same time', async () => {
    const it = await node()
    const container = await it.host.container()
    const names = Array.from({ length: 8 }, (_, i) => `net${i}`)
    for (const ifName of names) await it.add(conf, { container, ifName })
    expect((await nat(it)).filter((line) => line.includes('-A POSTROUTING'))).toHaveLength(8)
    await Promise.all(names.map((ifName) => it.del(conf, { container, ifName })))
    expect(await nat(it)).toEqual([])
  })
})

describe.each(['iptables', 'iptables-legacy'])('rules of the Go plugins in %s', (program) => {
  const prepared = async (...sources: string[]) => {
    const it = await node()
    const container = await it.host.container()
    await it.host.must(program, ['-t', 'nat', ...strange])
    const before = await nat(it, program)
    for (const source of sources) await asGo(it, program, 'cid-1', source)
    return { it, container, before }
  }
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{ name: 'cni0' }, { name: 'x' }, { name: 'eth0', sandbox: '/gone' }],
    ips: [{ address: '10.22.0.7/16', interface: 2 }],
  }

  test('are removed by their addresses, others stay', async () => {
    const { it, container } = await prepared('10.22.0.7', '10.22.0.8')
    await it.del(classic, { container, prevResult })
    const rules = await nat(it, program)
    expect(rules.some((line) => line.includes('10.22.0.7'))).toBe(false)
    expect(rules.filter((line) => line.startsWith('-A POSTROUTING'))).toHaveLength(2)
    expect(rules).toContain(`-N ${chainName('net', 'cid-1')}`)
  })

  test('are removed with their chain when nothing tells the address', async () => {
    const { it, before } = await prepared('10.22.0.7', '10.22.0.8')
    await it.del(classic, {})
    expect(await nat(it, program)).toEqual(before)
    await it.del(classic, {})
  })

  test('are removed when they are for the whole subnet, as very old plugins made them', async () => {
    const { it, container, before } = await prepared('10.22.0.0/16')
    await it.del(classic, { container, prevResult })
    expect(await nat(it, program)).toEqual(before)
  })

  test('are removed when a killed ADD has left a chain that nothing leads to', async () => {
    const { it, container, before } = await prepared()
    await it.host.must(program, ['-t', 'nat', '-N', chainName('net', 'cid-1')])
    await it.del(classic, { container })
    expect(await nat(it, program)).toEqual(before)
  })

  test('are collected', async () => {
    const { it } = await prepared('10.22.0.7')
    await asGo(it, program, 'kept', '10.22.0.9')
    await it.call('GC', {
      ...classic,
      'cni.dev/valid-attachments': [{ containerID: 'kept', ifname: 'eth0' }],
    })
    const rules = await nat(it, program)
    expect(rules.some((line) => line.includes(chainName('net', 'cid-1')))).toBe(false)
    expect(rules.filter((line) => line.includes(chainName('net', 'kept')))).toHaveLength(4)
  })
})
