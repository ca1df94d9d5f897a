/** CHECK of the ptp plugin: everything that can go wrong with an attachment is noticed. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { errorOf, node, vethsOf } from './node.ts'

const conf: JsonObject = {
  type: 'ptp',
  mtu: 1400,
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
}

/** In commands END is the host's end. */
const broken: [what: string, where: 'host' | 'container', command: string, complaint: RegExp][] = [
  ['the interface is gone', 'container', 'ip link del eth0', /interface eth0 of the result does not exist/],
  ['the interface is down', 'container', 'ip link set eth0 down', /interface eth0 is down/],
  ['its MAC', 'container', 'ip link set eth0 address 02:00:00:00:00:99', /eth0 has MAC 02:00:00:00:00:99/],
  ["the host's end is down", 'host', 'ip link set END down', /interface veth\w+ is down/],
  ["the host's MTU", 'host', 'ip link set END mtu 1300', /interface veth\w+ has MTU 1300/],
  ["the host's MAC", 'host', 'ip link set END address 02:00:00:00:00:99', /has MAC 02:00:00:00:00:99/],
  [
    "the host's end is another one",
    'host',
    'ip link set END down; ip link set END name other; ip link set other up',
    /interface veth\w+ of the result does not exist/,
  ],
  ['an address', 'container', 'ip address del 10.22.0.2/16 dev eth0', /address 10\.22\.0\.2\/16 is not on/],
  [
    'an address of IPv6',
    'container',
    'ip address del fd00:22::2/64 dev eth0',
    /address fd00:22::2\/64 is not on/,
  ],
  [
    'a route',
    'container',
    'ip route del default',
    /route 0\.0\.0\.0\/0 via 10\.22\.0\.1 is not in any table/,
  ],
  [
    'the route to the gateway',
    'container',
    'ip -6 route del fd00:22::1 dev eth0',
    /eth0 has no route to the gateway fd00:22::1/,
  ],
  ['the route to the subnet', 'container', 'ip route del 10.22.0.0/16', /no route to 10\.22\.0\.0\/16/],
  [
    'the route to the subnet is another one',
    'container',
    'ip route replace 10.22.0.0/16 dev eth0',
    /eth0 has no route to 10\.22\.0\.0\/16 via 10\.22\.0\.1/,
  ],
  [
    "the gateway's address",
    'host',
    'ip address del 10.22.0.1/32 dev END',
    /does not have the gateway's address 10\.22\.0\.1/,
  ],
  [
    'the way to the container',
    'host',
    'ip route del 10.22.0.2',
    /the host has no route to 10\.22\.0\.2\/32 over/,
  ],
  [
    'the way to the container leads elsewhere',
    'host',
    'ip -6 route replace fd00:22::2 dev lo',
    /the host has no route to fd00:22::2\/128 over/,
  ],
  ['forwarding', 'host', 'echo 0 >/proc/sys/net/ipv4/ip_forward', /does not forward IPv4/],
  ['masquerade', 'host', 'nft flush ruleset', /IP masquerade: missing/],
  ['the reservation', 'host', 'rm /var/lib/cni/networks/net/10.22.0.2', /host-local/],
]

test.each(broken)('CHECK notices: %s', async (_what, where, command, complaint) => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(conf, { container })
  await it.check(conf, { container, prevResult })
  const [end] = await vethsOf(it.host)
  const place = where === 'host' ? it.host : container
  await place.must('sh', ['-ec', command.replaceAll('END', end!.ifname)])
  expect((await errorOf(it.check(conf, { container, prevResult }))).msg).toMatch(complaint)
})

test('CHECK finds routes that sbr has moved to another table', async () => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(conf, { container })
  await it.add({ type: 'sbr' }, { container, prevResult })
  expect(await container.must('ip', ['route', 'show', 'table', 'main'])).toBe('')
  await it.check(conf, { container, prevResult })
  await container.ip('route', 'del', '10.22.0.1', 'dev', 'eth0', 'table', '100')
  expect((await errorOf(it.check(conf, { container, prevResult }))).msg).toBe(
    'eth0 has no route to the gateway 10.22.0.1',
  )
})

test('CHECK needs the result of ADD, and IPAM', async () => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(conf, { container })
  expect((await errorOf(it.check(conf, { container }))).msg).toBe('Required prevResult missing')
  expect((await errorOf(it.check({ type: 'ptp' }, { container, prevResult }))).msg).toBe(
    'no plugin name provided',
  )
})
