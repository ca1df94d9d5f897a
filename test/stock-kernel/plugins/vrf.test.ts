/** vrf on a kernel that has them. */
import { expect, test } from 'vitest'
import { errorOf, linkOf, unheard } from '../../kernel/plugins/node.ts'
import { settled } from '../../support/wait.ts'
import { attach, batch, look, plugged, plugIn, resultOf, tableRoutes, vrf } from './vrf.ts'

test('two VRFs of the same addresses lead to different networks', async () => {
  const { it, container } = await plugged()
  await plugIn(container, 'net1', 2)
  const before = await look(container)
  const both = [
    ['red', 'eth0', 1, 2],
    ['blue', 'net1', 2, 1],
  ] as const
  // Both at the same time, into VRFs of their own.
  await Promise.all(both.map(([name, ifName]) => it.add(vrf(name), attach(container, ifName))))
  const reaches = async (name: string, target: string, seconds: number) =>
    (await container.run('ping', ['-n', '-c1', `-w${seconds}`, '-I', name, target])).status === 0
  for (const [name, ifName, mine, other] of both) {
    await it.check(vrf(name), attach(container, ifName))
    for (const network of ['203.0.113.', 'fd00:99::'])
      expect(await reaches(name, `${network}${mine}`, 10), `${name} ${network}`).toBe(true)
    expect(await reaches(name, `203.0.113.${other}`, 1), name).toBe(false)
  }
  expect((await linkOf(container, 'red')).ifalias).toBe('linkwright:vrf')
  for (const _again of [1, 2])
    for (const [name, ifName] of both) await it.del(vrf(name), attach(container, ifName))
  const left = await look(container)
  const links = (lines: readonly string[]) => lines.filter((line) => line.includes(' qdisc '))
  expect(links(left)).toEqual(links(before))
})

test('an interface keeps everything, and a failed ADD puts it back', async () => {
  const { it, container } = await plugged()
  await batch(
    container,
    'address add fd09::5/64 dev eth0 nodad valid_lft 5000 preferred_lft 4000',
    'address add fd09::6/64 dev eth0 nodad noprefixroute',
    'route add 169.254.1.1 dev eth0 scope link',
    'route add 198.51.100.0/24 via 10.9.0.1 metric 7 mtu 1300',
    'route add fd00:50::/64 nexthop via fd09::1 dev eth0 nexthop via fd09::3 dev eth0 weight 3',
    'route add 10.77.0.0/16 via 10.9.0.1 table 77',
    // Numbers that are not free, though no VRF has them.
    'route add 192.0.2.0/24 dev lo table 1',
    'rule add from 10.99.0.1 lookup 2',
  )
  await container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_dad'])
  const before = await look(container)
  const failure = await errorOf(it.add(vrf('red'), { ...attach(container), deliver: unheard }))
  expect(failure.message).toBe('nobody listens')
  // The kernel probes its own link-local address anew.
  await settled(container)
  expect(await look(container)).toEqual(before)

  await it.add(vrf('red'), attach(container))
  const routes = await tableRoutes(container, 3)
  for (const line of [
    'default via 10.9.0.1 dev eth0 metric 1',
    '10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.2',
    'local 10.9.0.2 dev eth0 proto kernel scope host src 10.9.0.2',
    '169.254.1.1 dev eth0 scope link',
    '198.51.100.0/24 via 10.9.0.1 dev eth0 metric 7 mtu 1300',
    'default via fd09::1 dev eth0 metric 1',
    ...['fd09::2', 'fd09::5', 'fd09::6'].map((own) => `local ${own} dev eth0 proto kernel metric 0`),
  ])
    expect(routes).toContain(line)
  expect(routes.join('\n')).toMatch(
    /fd00:50::\/64 .*\s+nexthop via fd09::1 dev eth0 .*\s+nexthop via fd09::3 dev eth0 weight 3/,
  )
  expect(await tableRoutes(container, 77)).toEqual(['10.77.0.0/16 via 10.9.0.1 dev eth0'])
  const addresses = (lines: readonly string[]) => lines.filter((line) => line.includes('inet'))
  const after = addresses(await look(container))
  expect(after).toEqual(addresses(before))
  expect(after.join()).not.toContain('tentative')
  expect(await container.sysctl('net/ipv6/conf/eth0/accept_dad')).toBe('1')

  const losses: [string, RegExp][] = [
    ['ip route del 10.9.0.0/24 vrf red', /^route 10\.9\.0\.0\/24 is not in table 3$/],
    [
      'ip route add 10.9.0.0/24 dev eth0 vrf red; ip route del default vrf red',
      /^route 0\.0\.0\.0\/0 via 10\.9\.0\.1 is/,
    ],
    ['ip link set red down', /^VRF red is down$/],
    ['ip link set red up; ip link set eth0 nomaster', /^failed to find eth0 associated to vrf red$/],
    ['ip link del red', /^Link not found$/],
  ]
  await it.check(vrf('red', { table: 3 }), attach(container))
  expect((await errorOf(it.check(vrf('red', { table: 4 }), attach(container)))).msg).toMatch(
    'has table 3, the conf',
  )
  for (const [command, complaint] of losses) {
    await container.must('sh', ['-ec', command])
    expect((await errorOf(it.check(vrf('red'), attach(container)))).msg).toMatch(complaint)
  }
})

test('what can not be done is refused, and nothing is touched', async () => {
  const { it, container } = await plugged()
  await batch(container, 'link add own up type vrf table 10', 'link add br0 type bridge')
  const before = await look(container)
  const errors: [msg: string, call: () => Promise<unknown>][] = [
    ['missing prevResult from earlier plugin', () => it.add(vrf('red'), { container })],
    ['configuration is expected to have a valid vrf name', () => it.add(vrf(''), attach(container))],
    ['invalid vrf name: "a/b"', () => it.add(vrf('a/b'), attach(container))],
    [
      'cmdAdd failed: VRF own already exist with different routing table 10',
      () => it.add(vrf('own', { table: 11 }), attach(container)),
    ],
    ['cmdAdd failed: Netlink br0 is not a VRF', () => it.add(vrf('br0'), attach(container))],
    ['cmdAdd failed: could not get link by name net9', () => it.add(vrf('red'), attach(container, 'net9'))],
  ]
  for (const [msg, call] of errors) expect((await errorOf(call())).msg).toBe(msg)
  // DEL after such an ADD leaves the VRF that an operator has made.
  await it.del(vrf('own'), attach(container))
  await it.del(vrf(''), { container })
  await it.del(vrf('red'), { ifName: 'eth0' })
  expect(await look(container)).toEqual(before)
  await it.call('STATUS', vrf('red'))
  await container.ip('link', 'set', 'eth0', 'master', 'br0')
  expect((await errorOf(it.add(vrf('red'), attach(container)))).msg).toBe(
    'cmdAdd failed: interface eth0 has already a master set: br0',
  )
})

test('one VRF for two interfaces goes with the last of them, one that has another alias stays', async () => {
  const { it, container } = await plugged()
  await plugIn(container, 'net1', 2)
  await it.add(vrf('red', { table: 10 }), attach(container))
  await it.add(vrf('red'), attach(container, 'net1'))
  const vrfs = async () => (await container.must('ip', ['-br', 'link', 'show', 'type', 'vrf'])).split(/\s/)[0]
  await container.ip('link', 'del', 'eth0')
  await it.del(vrf('red'), attach(container))
  expect(await vrfs()).toBe('red')
  // Without result or configuration.
  await it.del(vrf(''), { container, ifName: 'net1' })
  expect(await vrfs()).toBe('')
  await batch(container, 'link add own up type vrf table 10', 'link set own alias mine')
  await it.add(vrf('own'), {
    ...attach(container, 'net1'),
    prevResult: resultOf(container.path, 'net1', { ips: [], routes: [] }),
  })
  await it.del(vrf('own'), { container, ifName: 'net1' })
  expect(await vrfs()).toBe('own')
  expect((await linkOf(container, 'net1')).master).toBeUndefined()
})
