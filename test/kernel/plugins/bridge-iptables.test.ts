/** The iptables backend, and what DEL and GC do about rules that it or the Go plugins have left. */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { NETLINK_NETFILTER, Netns } from '../../../netlink/netns.ts'
import { chainName, ruleComment } from '../../../plugins/shared/masquerade-iptables-names.ts'
import { plainEnv } from '../../support/program.ts'
import { classic, errorOf, fixed, links, type Node, node } from './node.ts'

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

test('that there is no descriptor for nf_tables does not say that there is no nf_tables', async () => {
  const it = await node()
  const container = await it.host.container()
  const { connect } = Netns.prototype
  const spy = vi.spyOn(Netns.prototype, 'connect').mockImplementation(function (this: Netns, options = {}) {
    if (options.protocol === NETLINK_NETFILTER)
      throw Object.assign(new Error('socket: EMFILE'), { code: 'EMFILE' })
    return connect.call(this, options)
  })
  onTestFinished(() => spy.mockRestore())
  const { msg } = await errorOf(it.add(classic, { container }))
  expect(msg).toBe('failed to set up IP masquerade: socket: EMFILE')
  await expect(it.call('STATUS', classic)).rejects.toThrow('EMFILE')
  spy.mockRestore()
  for (const program of ['iptables', 'iptables-legacy']) expect(await nat(it, program)).toEqual([])
})

describe("in a kernel without netfilter's netlink", () => {
  /** A node on which iptables is the old one, and whose kernel knows no NETLINK_NETFILTER. */
  const old = async () => {
    const it = await node()
    const bin = mkdtempSync(join(tmpdir(), 'iptables-'))
    onTestFinished(() => rmSync(bin, { recursive: true }))
    for (const name of ['iptables', 'ip6tables']) symlinkSync(`/usr/sbin/${name}-legacy`, join(bin, name))
    it.options = { environment: { PATH: `${bin}:${plainEnv.PATH}` } }
    const { connect } = Netns.prototype
    const spy = vi.spyOn(Netns.prototype, 'connect').mockImplementation(function (this: Netns, options = {}) {
      if (options.protocol === NETLINK_NETFILTER)
        throw Object.assign(new Error('socket: EPROTONOSUPPORT'), { code: 'EPROTONOSUPPORT' })
      return connect.call(this, options)
    })
    onTestFinished(() => spy.mockRestore())
    return { it, container: await it.host.container() }
  }

  test('ipMasq uses iptables by itself', async () => {
    const { it, container } = await old()
    const prevResult = await it.add(classic, { container })
    expect((await nat(it, 'iptables-legacy')).some((line) => line.includes('-s 10.22.0.2/32'))).toBe(true)
    await it.check(classic, { container, prevResult })
    await it.call('STATUS', classic)
    await it.del(classic, { container, prevResult })
    expect(await nat(it, 'iptables-legacy')).toEqual([])
    await it.call('GC', { ...classic, 'cni.dev/valid-attachments': [] })
  })

  test('what needs nf_tables says so, before anything is left behind', async () => {
    const { it, container } = await old()
    for (const [own, msg] of [
      [{ ...classic, ipMasqBackend: 'nftables' }, /EPROTONOSUPPORT/],
      [{ ...classic, macspoofchk: true }, /EPROTONOSUPPORT/],
    ] as const) {
      await expect(it.add(own, { container })).rejects.toThrow(msg)
      expect((await links(it.host)).map(({ ifname }) => ifname)).toEqual(['lo'])
      await expect(it.call('STATUS', own)).rejects.toThrow(/nf_tables/)
    }
  })

  test('a bridge that needs none works', async () => {
    const { it, container } = await old()
    const prevResult = await it.add({ bridge: 'cni0' }, { container })
    await it.check({ bridge: 'cni0' }, { container, prevResult })
    await it.del({ bridge: 'cni0' }, { container, prevResult })
  })
})
