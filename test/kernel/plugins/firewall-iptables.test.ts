/** The firewall plugin by execution of iptables: asked for, on hosts of the old xtables, in kernels without nf_tables. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { NETLINK_NETFILTER, Netns } from '../../../netlink/netns.ts'
import { binDirs, type PrintedResult, runPlugin } from '../../support/plugin.ts'
import { plainEnv } from '../../support/program.ts'
import { privateHost } from '../../support/space.ts'
import { attach, filterRules, firewallConf, naming, resultWith, rulesOf } from './firewall.ts'
import { errorOf, type Node, node, unheard } from './node.ts'

const one = resultWith(['10.1.2.3/24', 'fd00:1::3/64'])
const v4 = resultWith(['10.1.2.3/24'])
const shared = [
  '-N CNI-ADMIN',
  '-N CNI-FORWARD',
  '-N LINKWRIGHT-OWNERS',
  '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
  '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
]
const permits = (address: string): string[] => [
  `-d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  `-s ${address} -j ACCEPT`,
]

/** Makes `iptables` a program of the old xtables, and leaves out those of a family or all. */
const withPrograms = (it: Node, names: readonly string[]): void => {
  const bin = mkdtempSync(join(tmpdir(), 'iptables-'))
  onTestFinished(() => rmSync(bin, { recursive: true }))
  for (const name of names) {
    const [, base, end = ''] = /^(ip6?tables)(.*)$/.exec(name)!
    symlinkSync(`/usr/sbin/${base}-legacy${end}`, join(bin, name))
  }
  it.options = { environment: { PATH: bin } }
}
const both = ['iptables', 'iptables-restore', 'ip6tables', 'ip6tables-restore']

describe.each(['iptables', 'iptables-legacy'])('%s', (program) => {
  const program6 = program.replace('ip', 'ip6')
  /** Asked for; or found, because the old xtables hold the filter table. */
  const conf = firewallConf(program === 'iptables' ? { backend: 'iptables' } : {})
  const made = async () => {
    const it = await node()
    if (program === 'iptables-legacy') {
      withPrograms(it, both)
      // It makes the table by looking.
      await it.host.must('iptables-legacy', ['-S'])
    }
    return { it, container: await it.host.container() }
  }

  test('every verb', async () => {
    const { it, container } = await made()
    const call = { container, prevResult: one }
    await it.call('STATUS', conf)
    for (let times = 0; times < 2; times++) {
      expect(await it.add(conf, call)).toEqual(one)
      for (const [name, address] of [
        [program, '10.1.2.3/32'],
        [program6, 'fd00:1::3/128'],
      ] as const) {
        expect((await rulesOf(it.host, 'CNI-FORWARD', name)).slice(1)).toEqual(permits(address))
        expect(await rulesOf(it.host, 'LINKWRIGHT-OWNERS', name)).toEqual([
          expect.stringMatching(
            `^-s ${address} -m comment --comment "[0-9a-f]{16}-[0-9a-f]{16}, net: net, if: eth0, id: cid-1"$`,
          ),
        ])
      }
    }
    await it.check(conf, call)
    await it.host.must(program, ['-D', 'CNI-FORWARD', '-s', '10.1.2.3/32', '-j', 'ACCEPT'])
    expect((await errorOf(it.check(conf, call))).msg).toContain('expected rule -s 10.1.2.3/32')
    await it.add(conf, call)
    await it.check(conf, call)
    await it.del(conf, call)
    expect(await filterRules(it.host, program)).toEqual(shared)
    expect(await filterRules(it.host, program6)).toEqual(shared)
    await it.del(conf, call)
  })

  test('a late DEL, one without a result, GC', async () => {
    const { it, container } = await made()
    const callOf = (containerId: string) => ({ container, containerId, prevResult: v4 })
    await it.add(conf, callOf('a'))
    await it.add(conf, callOf('b'))
    expect(await rulesOf(it.host, 'CNI-FORWARD', program)).toHaveLength(3)
    await it.del(conf, callOf('a'))
    expect(await rulesOf(it.host, 'CNI-FORWARD', program)).toHaveLength(3)
    await it.del(conf, { containerId: 'b' })
    expect(await filterRules(it.host, program)).toEqual(shared)
    await it.add(conf, callOf('c'))
    await it.call('GC', { ...conf, 'cni.dev/valid-attachments': [{ containerID: 'c', ifname: 'eth0' }] })
    expect(await rulesOf(it.host, 'CNI-FORWARD', program)).toHaveLength(3)
    await it.call('GC', { ...conf, 'cni.dev/valid-attachments': [] })
    expect(await filterRules(it.host, program)).toEqual(shared)
  })

  test("after Go's DEL, which knows no owners, the address is the next one's alone", async () => {
    const { it, container } = await made()
    await it.add(conf, { container, containerId: 'a', prevResult: v4 })
    for (const rule of permits('10.1.2.3/32'))
      await it.host.must(program, ['-D', 'CNI-FORWARD', ...rule.split(' ')])
    const call = { container, containerId: 'b', prevResult: v4 }
    await it.add(conf, call)
    expect(await rulesOf(it.host, 'LINKWRIGHT-OWNERS', program)).toEqual([expect.stringContaining('id: b')])
    await it.del(conf, call)
    expect(await filterRules(it.host, program)).toEqual(shared)
  })

  test('an ADD that fails leaves its rules nowhere, and others where they are', async () => {
    const { it, container } = await made()
    await it.add(conf, { container, containerId: 'a', prevResult: v4 })
    const before = await filterRules(it.host, program)
    for (const prevResult of [v4, resultWith(['10.1.2.4/24'])])
      await expect(
        it.add(conf, { container, containerId: 'b', prevResult, deliver: unheard }),
      ).rejects.toThrow('nobody listens')
    expect(await filterRules(it.host, program)).toEqual(before)
  })

  test('ADDs at the same time', async () => {
    const { it, container } = await made()
    const callOf = (i: number) => ({
      container,
      containerId: `c${i}`,
      prevResult: resultWith([`10.1.2.${i + 1}/24`]),
    })
    const all = [0, 1, 2, 3, 4, 5]
    await Promise.all(all.map((i) => it.add(conf, callOf(i))))
    expect(await rulesOf(it.host, 'FORWARD', program)).toHaveLength(1)
    expect(await rulesOf(it.host, 'CNI-FORWARD', program)).toHaveLength(13)
    await Promise.all(all.map((i) => it.del(conf, callOf(i))))
    expect(await filterRules(it.host, program)).toEqual(shared)
  })

  test('ingressPolicy', async () => {
    const { it } = await made()
    const own = { ...conf, ingressPolicy: 'isolated' }
    const { call } = await attach(it, 'a', { '10.9.0.5/24': '10.9.0.1' }, { conf: own })
    const stages = async () =>
      (await filterRules(it.host, program)).filter((line) => line.startsWith('-A CNI-ISOLATION'))
    expect(await stages()).toHaveLength(5)
    await it.check(own, call)
    const same = { ...conf, ingressPolicy: 'same-bridge' }
    await it.add(same, call)
    expect(await stages()).toHaveLength(4)
    await it.check(same, call)
    expect((await errorOf(it.check(own, call))).msg).toContain('CNI-ISOLATION-STAGE-1')
    await it.del(own, call)
    expect((await stages()).map((line) => line.replace(/.*-j /, ''))).toEqual(['RETURN', 'RETURN'])
  })
})

test('a switch of backends, with rules of both', async () => {
  const it = await node()
  const container = await it.host.container()
  const call = { container, prevResult: one }
  await it.add(firewallConf({ backend: 'iptables' }), call)
  await it.add(firewallConf({ backend: 'nftables' }), call)
  await it.check(firewallConf({ backend: 'iptables' }), call)
  await it.del(firewallConf({ backend: 'iptables' }), call)
  expect(await filterRules(it.host)).toEqual(shared)
})

describe('programs that are missing', () => {
  /** A host that has only these of the programs, and calls of our executable there. */
  const having = async (...names: readonly string[]) => {
    const host = await privateHost()
    const script = [
      'mkdir /run/sbin',
      'cp -a /usr/sbin/. /run/sbin',
      'rm -f /run/sbin/*tables*',
      ...names.map((name) => `ln -s xtables-nft-multi /run/sbin/${name}`),
      ...(names.length > 0 ? ['cp /usr/sbin/xtables-nft-multi /run/sbin'] : []),
      'mount --bind /run/sbin /usr/sbin',
    ]
    await host.must('sh', ['-ec', script.join('\n')])
    const container = await host.container()
    const call = (command: string, prevResult: PrintedResult, more: JsonObject = {}) => {
      const conf = { cniVersion: '1.1.0', name: 'net', ...firewallConf({ backend: 'iptables' }), ...more }
      const own = { ...conf, prevResult }
      return runPlugin({ host, binDir: binDirs.ours, type: 'firewall', command, conf: own, netns: container })
    }
    return { host, call }
  }

  test('ip6tables: what has no IPv6 address needs none, and the other is refused', async () => {
    const { host, call } = await having('iptables', 'iptables-restore')
    for (const command of ['ADD', 'CHECK', 'DEL', 'STATUS'])
      expect(await call(command, v4), command).toMatchObject({ status: 0 })
    expect(await call('ADD', one)).toMatchObject({
      error: { code: 999, msg: expect.stringContaining('ip6tables') },
    })
    expect(await naming(host, '10.1.2.3')).toEqual([])
  })

  test('all: nothing is run without being asked for', async () => {
    const { call } = await having()
    expect(await call('STATUS', v4)).toMatchObject({ error: { code: 50 } })
    expect(await call('DEL', v4)).toMatchObject({ status: 0 })
    for (const command of ['ADD', 'CHECK', 'DEL', 'STATUS'])
      expect(await call(command, one, { backend: '' }), command).toMatchObject({ status: 0 })
  })
})

test("a program's refusal tells its words", async () => {
  const it = await node()
  withPrograms(it, [])
  writeFileSync(
    join(it.options.environment!.PATH!, 'iptables'),
    '#!/bin/sh\nexec /usr/sbin/iptables-legacy "$@"\n',
    { mode: 0o755 },
  )
  writeFileSync(
    join(it.options.environment!.PATH!, 'iptables-restore'),
    '#!/bin/sh\ncat >/dev/null\necho "line 2 failed" >&2\nexit 1\n',
    { mode: 0o755 },
  )
  it.options = { environment: { PATH: `${it.options.environment!.PATH}:${plainEnv.PATH}` } }
  const container = await it.host.container()
  const failing = it.add(firewallConf({ backend: 'iptables' }), { container, prevResult: v4 })
  expect((await errorOf(failing)).msg).toMatch(/^firewall: iptables-restore --noflush: line 2 failed/)
})

describe("in a kernel without netfilter's netlink", () => {
  const old = async () => {
    const it = await node()
    withPrograms(it, both)
    const { connect } = Netns.prototype
    const spy = vi.spyOn(Netns.prototype, 'connect').mockImplementation(function (this: Netns, options = {}) {
      if (options.protocol === NETLINK_NETFILTER)
        throw Object.assign(new Error('socket: EPROTONOSUPPORT'), { code: 'EPROTONOSUPPORT' })
      return connect.call(this, options)
    })
    onTestFinished(() => spy.mockRestore())
    return { it, container: await it.host.container() }
  }

  test('iptables is used by itself', async () => {
    const { it, container } = await old()
    const call = { container, prevResult: one }
    await it.call('STATUS', firewallConf())
    await it.add(firewallConf(), call)
    expect(await naming(it.host, '10.1.2.3', 'iptables-legacy')).toHaveLength(3)
    await it.check(firewallConf(), call)
    await it.del(firewallConf(), call)
    expect(await filterRules(it.host, 'iptables-legacy')).toEqual(shared)
    await it.call('GC', { ...firewallConf(), 'cni.dev/valid-attachments': [] })
  })

  test('nftables says that there is none', async () => {
    const { it, container } = await old()
    const conf = firewallConf({ backend: 'nftables' })
    expect((await errorOf(it.add(conf, { container, prevResult: v4 }))).msg).toContain('EPROTONOSUPPORT')
    expect(await errorOf(it.call('STATUS', conf))).toMatchObject({ code: 50 })
  })
})
