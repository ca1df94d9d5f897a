/** The firewall plugin over netlink: its rules as iptables sees them, every verb, and whose rules are whose. */
import { describe, expect, test } from 'vitest'
import type { AnyPlugin } from '../../../cni/plugin.ts'
import { firewall } from '../../../plugins/firewall/index.ts'
import { filterRules, firewallConf, naming, resultWith, rulesOf } from './firewall.ts'
import { errorOf, type Node, type NodeCall, node, unheard } from './node.ts'

const conf = firewallConf()
const one = resultWith(['10.1.2.3/24', 'fd00:1::3/64'])
const v4 = resultWith(['10.1.2.3/24'])

const shared = [
  '-N CNI-ADMIN',
  '-N CNI-FORWARD',
  '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
  '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
]
const words = (address: string) => [
  ['-d', address, '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT'],
  ['-s', address, '-j', 'ACCEPT'],
]
const permits = (address: string): string[] =>
  words(address).map((rule) => `-A CNI-FORWARD ${rule.join(' ')}`)

/** The permits of the Go plugin. */
const asGo = async ({ host }: Node, address: string): Promise<void> => {
  for (const rule of words(address)) await host.must('iptables', ['-A', 'CNI-FORWARD', ...rule])
}

/** A node and an attachment of it. */
const attached = async (prevResult = v4) => {
  const it = await node()
  const container = await it.host.container()
  const call = { container, prevResult }
  await it.add(conf, call)
  return { it, container, call }
}

describe('ADD', () => {
  test('writes what iptables would, passes the result on, and is done when it is done again', async () => {
    const it = await node()
    const container = await it.host.container()
    for (let times = 0; times < 2; times++) {
      expect(await it.add(conf, { container, prevResult: one })).toEqual(one)
      expect(await filterRules(it.host)).toEqual([...shared, ...permits('10.1.2.3/32')])
      expect(await filterRules(it.host, 'ip6tables')).toEqual([...shared, ...permits('fd00:1::3/128')])
    }
    await it.check(conf, { container, prevResult: one })
    // All of it can be read, compared and made again by the programs.
    const [rule] = words('10.1.2.3/32')
    await it.host.must('iptables', ['-C', 'CNI-FORWARD', ...rule!])
    expect(await it.host.must('nft', ['list', 'chain', 'ip', 'filter', 'CNI-FORWARD'])).toContain(
      'ip saddr 10.1.2.3 counter packets 0 bytes 0 accept',
    )
    const saved = await it.host.must('iptables-save', [])
    await it.host.must('iptables-restore', [], { input: saved })
    expect(await filterRules(it.host)).toEqual([...shared, ...permits('10.1.2.3/32')])
    await it.check(conf, { container, prevResult: one })
    await it.del(conf, { container, prevResult: one })
    expect(await filterRules(it.host)).toEqual(shared)
  })

  test('every address of the container, none of the host', async () => {
    const prevResult = {
      ...one,
      ips: [
        { address: '10.1.2.3/24', interface: 2 },
        { address: '10.7.0.4/16' },
        { address: '10.8.0.1/16', interface: 0 },
        { address: '::ffff:10.9.0.5/112', interface: 2 },
      ],
    }
    const { it } = await attached(prevResult)
    const permitted = (await rulesOf(it.host, 'CNI-FORWARD')).filter((line) => line.startsWith('-s'))
    expect(permitted).toEqual(['10.1.2.3', '10.7.0.4', '10.9.0.5'].map((ip) => `-s ${ip}/32 -j ACCEPT`))
  })

  test("of one family: the other's table is not made", async () => {
    const { it } = await attached()
    expect(await it.host.must('nft', ['list', 'tables'])).toBe('table ip filter\n')
  })

  test('a result without addresses: nothing', async () => {
    const { it, call } = await attached(resultWith([]))
    expect(await it.host.must('nft', ['list', 'tables'])).toBe('')
    await it.check(conf, call)
    await it.del(conf, call)
  })

  test("the host's policy, its rules and their order stay", async () => {
    const it = await node()
    const container = await it.host.container()
    await it.host.must('iptables', ['-P', 'FORWARD', 'DROP'])
    await it.host.must('iptables', ['-A', 'FORWARD', '-s', '192.0.2.0/24', '-j', 'ACCEPT'])
    await it.add(conf, { container, prevResult: v4 })
    expect(await it.host.must('iptables', ['-S', 'FORWARD'])).toBe(
      [
        '-P FORWARD DROP',
        '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
        '-A FORWARD -s 192.0.2.0/24 -j ACCEPT',
        '',
      ].join('\n'),
    )
  })

  test('the policy of a chain without rules stays too', async () => {
    const it = await node()
    await it.host.must('iptables', ['-P', 'FORWARD', 'DROP'])
    await it.add(conf, { container: await it.host.container(), prevResult: v4 })
    expect(await it.host.must('iptables', ['-S', 'FORWARD'])).toContain('-P FORWARD DROP')
  })

  test('rules that take every packet come to lie behind', async () => {
    const { it, call } = await attached()
    await it.host.must('iptables', ['-I', 'FORWARD', '-j', 'REJECT'])
    expect((await errorOf(it.check(conf, call))).msg).toContain('FORWARD rule')
    await it.add(conf, call)
    await it.check(conf, call)
    expect((await rulesOf(it.host, 'FORWARD')).map((line) => line.replace(/.*-j /, ''))).toEqual([
      'CNI-FORWARD',
      'REJECT --reject-with icmp-port-unreachable',
    ])
  })

  test("an operator's chain of another name comes before every permit", async () => {
    const { it, container } = await attached()
    const own = firewallConf({ iptablesAdminChainName: 'SITE' })
    const call = { container, containerId: 'cid-2', prevResult: resultWith(['10.1.2.4/24']) }
    await it.add(own, call)
    expect((await rulesOf(it.host, 'CNI-FORWARD')).map((line) => line.replace(/.*-j /, ''))).toEqual([
      ...['SITE', 'CNI-ADMIN', 'ACCEPT', 'ACCEPT', 'ACCEPT', 'ACCEPT'],
    ])
    await it.check(own, call)
  })

  test('that fails leaves its rules nowhere, and others where they are', async () => {
    const { it, container } = await attached()
    const before = await filterRules(it.host)
    const prevResult = resultWith(['10.1.2.4/24', 'fd00:1::4/64'])
    const call = { container, containerId: 'cid-2', prevResult, deliver: unheard }
    await expect(it.add(conf, call)).rejects.toThrow('nobody listens')
    expect(await filterRules(it.host)).toEqual(before)
    expect(await naming(it.host, 'fd00:1::4', 'ip6tables')).toEqual([])
    // Again for what is there already: it stays.
    await expect(it.add(conf, { container, prevResult: v4, deliver: unheard })).rejects.toThrow('nobody')
    expect(await filterRules(it.host)).toEqual(before)
  })

  test('of many at the same time, on a host without any rule', async () => {
    const it = await node()
    const container = await it.host.container()
    const all = Array.from({ length: 24 }, (_, i) => `10.1.2.${i + 1}`)
    const callOf = (ip: string) => ({ container, containerId: ip, prevResult: resultWith([`${ip}/24`]) })
    await Promise.all(all.map((ip) => it.add(conf, callOf(ip))))
    expect(await rulesOf(it.host, 'FORWARD')).toHaveLength(1)
    expect(await rulesOf(it.host, 'CNI-FORWARD')).toHaveLength(2 * all.length + 1)
    await Promise.all(all.map((ip) => it.del(conf, callOf(ip))))
    expect(await filterRules(it.host)).toEqual(shared)
  })
})

describe('what is refused', () => {
  test.each([
    [{}, null, 'missing prevResult from earlier plugin'],
    [{ ingressPolicy: 'closed' }, v4, 'unknown ingress policy: "closed"'],
    [{ iptablesAdminChainName: 'x'.repeat(29) }, v4, /^iptablesAdminChainName/],
    [{ iptablesAdminChainName: 'a b' }, v4, /^iptablesAdminChainName/],
    [{ iptablesAdminChainName: 'ACCEPT' }, v4, /^iptablesAdminChainName/],
    [{ iptablesAdminChainName: 'CNI-FORWARD' }, v4, /^iptablesAdminChainName/],
    [{ ingressPolicy: 'same-bridge' }, v4, /^interface needs to be set for ingress policy "same-bridge"/],
  ] as const)('%j', async (keys, prevResult, msg) => {
    const it = await node()
    const own = firewallConf(keys)
    const call = { container: await it.host.container(), ...(prevResult && { prevResult }) }
    for (const failing of [() => it.add(own, call), () => it.check(own, call)])
      expect(await errorOf(failing())).toMatchObject({
        code: 7,
        msg: typeof msg === 'string' ? msg : expect.stringMatching(msg),
      })
    expect(await it.host.must('nft', ['list', 'ruleset'])).toBe('')
    // Nothing of it keeps a DEL from its work.
    await it.del(own, call)
  })
})

/** What `linkwright reconcile` does, without a cache. */
const repaired = async (it: Node, { container, prevResult }: NodeCall): Promise<readonly string[]> => {
  let missing: readonly string[] | undefined
  const repairing = {
    ...firewall,
    check: async (attachment: Parameters<AnyPlugin['check']>[0]) => {
      missing = await (firewall as AnyPlugin).repair?.(attachment)
    },
  }
  const { options } = it
  it.options = { ...options, plugins: new Map([['firewall', repairing as AnyPlugin]]) }
  await it.check(conf, { container, prevResult })
  it.options = options
  return missing ?? []
}

describe('CHECK', () => {
  const lost: readonly (readonly [what: string, script: string, msg: string])[] = [
    ['the jump', 'iptables -F FORWARD', 'FORWARD rule -m comment --comment "CNI firewall plugin rules"'],
    ["the operator's chain", 'iptables -D CNI-FORWARD 1', 'expected CNI-FORWARD rule'],
    [
      "the operator's chain, moved behind permits",
      'iptables -D CNI-FORWARD 1; iptables -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
      'before the permits',
    ],
    ['a permit', 'iptables -D CNI-FORWARD 2', 'expected rule -d 10.1.2.3/32'],
    ['the other one', 'iptables -D CNI-FORWARD 3', 'expected rule -s 10.1.2.3/32'],
    ['one of IPv6', 'ip6tables -D CNI-FORWARD 3', 'IPv6: expected rule -s fd00:1::3/128'],
    ['everything', 'nft flush ruleset', 'FORWARD rule'],
  ]
  test.each(lost)('notices the loss of %s, and repair makes it again', async (_, script, msg) => {
    const { it, call } = await attached(one)
    const whole = [await filterRules(it.host), await filterRules(it.host, 'ip6tables')]
    await it.host.must('sh', ['-ec', script])
    const before = await it.host.must('nft', ['list', 'ruleset'])
    expect((await errorOf(it.check(conf, call))).message).toContain(msg)
    expect(await it.host.must('nft', ['list', 'ruleset'])).toBe(before)
    expect((await repaired(it, call)).join()).toContain(msg)
    await it.check(conf, call)
    expect(await repaired(it, call)).toEqual([])
    const now = [await filterRules(it.host), await filterRules(it.host, 'ip6tables')]
    expect(now.map((lines) => [...lines].sort())).toEqual(whole.map((lines) => [...lines].sort()))
  })
})

describe('DEL', () => {
  test('without a result, a namespace or a valid configuration', async () => {
    const { it } = await attached(one)
    await it.del(firewallConf({ ingressPolicy: 'closed', iptablesAdminChainName: '' }), {})
    expect(await filterRules(it.host)).toEqual(shared)
    expect(await filterRules(it.host, 'ip6tables')).toEqual(shared)
    await it.del(conf, {})
  })

  test('where there is nothing makes nothing', async () => {
    const it = await node()
    await it.del(conf, { prevResult: one })
    expect(await it.host.must('nft', ['list', 'ruleset'])).toBe('')
  })

  test("that is late leaves the rules of the address's next owner", async () => {
    const { it, container, call } = await attached()
    await it.add(conf, { container, containerId: 'cid-2', prevResult: v4 })
    await it.del(conf, call)
    expect(await filterRules(it.host)).toEqual([...shared, ...permits('10.1.2.3/32')])
    await it.check(conf, { container, containerId: 'cid-2', prevResult: v4 })
    await it.del(conf, call)
    expect(await naming(it.host, '10.1.2.3')).toHaveLength(2)
    await it.del(conf, { container, containerId: 'cid-2', prevResult: v4 })
    expect(await filterRules(it.host)).toEqual(shared)
  })

  test('tells networks and interfaces of one container apart', async () => {
    const { it, container, call } = await attached()
    const other = resultWith(['10.1.2.4/24'])
    await it.add(conf, { container, ifName: 'net1', prevResult: other })
    await it.add({ ...conf, name: 'other' }, { container, prevResult: resultWith(['10.1.2.5/24']) })
    await it.del(conf, { ...call, prevResult: undefined })
    expect(await naming(it.host, '10.1.2.3')).toEqual([])
    expect(await naming(it.host, '10.1.2.4')).toHaveLength(2)
    expect(await naming(it.host, '10.1.2.5')).toHaveLength(2)
  })

  test("removes Go's rules for its addresses, and leaves them where the address is another's", async () => {
    const { it, container, call } = await attached()
    await asGo(it, '10.1.2.9/32')
    await it.del(conf, { container, containerId: 'go', prevResult: resultWith(['10.1.2.9/24']) })
    expect(await naming(it.host, '10.1.2.9')).toEqual([])
    // Go's own, before ours came to have its address.
    await asGo(it, '10.1.2.3/32')
    await it.del(conf, { container, containerId: 'go', prevResult: v4 })
    expect(await naming(it.host, '10.1.2.3')).toHaveLength(4)
    await it.del(conf, call)
    expect(await naming(it.host, '10.1.2.3')).toEqual([])
  })

  test("rules of other chains and other words stay, whoever's address they name", async () => {
    const { it, call } = await attached()
    const own = ['-A', 'CNI-FORWARD', '-s', '10.1.2.3/32', '-p', 'tcp', '-j', 'ACCEPT']
    await it.host.must('iptables', own)
    await it.host.must('iptables', ['-A', 'CNI-ADMIN', '-s', '10.1.2.3/32', '-j', 'ACCEPT'])
    await it.del(conf, call)
    expect(await naming(it.host, '10.1.2.3')).toEqual([
      '-A CNI-ADMIN -s 10.1.2.3/32 -j ACCEPT',
      own.join(' '),
    ])
  })
})

describe('GC', () => {
  test('removes what belongs to no valid attachment of the network', async () => {
    const { it, container } = await attached(one)
    await it.add(conf, { container, ifName: 'net1', prevResult: resultWith(['10.1.2.4/24']) })
    await it.add(
      { ...conf, name: 'other' },
      { container, containerId: 'x', prevResult: resultWith(['10.1.2.5/24']) },
    )
    await asGo(it, '10.1.2.9/32')
    await it.call('GC', {
      ...conf,
      'cni.dev/valid-attachments': [{ containerID: 'cid-1', ifname: 'net1' }],
    })
    expect(await filterRules(it.host, 'ip6tables')).toEqual(shared)
    const left = await rulesOf(it.host, 'CNI-FORWARD')
    expect(left.filter((line) => line.startsWith('-s'))).toEqual(
      ['10.1.2.4', '10.1.2.5', '10.1.2.9'].map((ip) => `-s ${ip}/32 -j ACCEPT`),
    )
  })
})

test('STATUS', async () => {
  const it = await node()
  await it.call('STATUS', conf)
  await it.call('STATUS', firewallConf({ backend: 'nftables' }))
  await it.call('STATUS', firewallConf({ backend: 'iptables' }))
  expect(await errorOf(it.call('STATUS', firewallConf({ backend: 'firewalld' })))).toMatchObject({
    code: 50,
    msg: 'backend is "firewalld", but firewalld is not running',
  })
  expect(await it.host.must('nft', ['list', 'ruleset'])).toBe('')
})

test('without a result the bridge is that of the port, not of the IFB that has the same alias', async () => {
  const it = await node()
  const container = await it.host.container()
  await it.host.ip('link', 'add', 'bwp0', 'index', '100', 'type', 'ifb')
  await it.host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge')
  const peer = ['peer', 'name', 'eth0', 'netns', String(container.pid)]
  await it.host.ip('link', 'add', 'port', 'index', '200', 'master', 'cni0', 'type', 'veth', ...peer)
  for (const name of ['bwp0', 'port'])
    await it.host.ip('link', 'set', name, 'alias', 'linkwright:net/cid-1/eth0')
  const isolating = { ...conf, ingressPolicy: 'same-bridge' }
  const prevResult = {
    ...v4,
    interfaces: [{ name: 'cni0' }, { name: 'port' }, { name: 'eth0', sandbox: container.path }],
    ips: [{ address: '10.1.2.3/24', interface: 2 }],
  }
  await it.add(isolating, { container, prevResult })
  expect((await filterRules(it.host)).join('\n')).toContain('cni0')
  await it.del(isolating, { container })
  expect((await filterRules(it.host)).join('\n')).not.toContain('cni0')
})
