/** CHECK: everything that can go wrong with an attachment is noticed, and nothing is changed. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { binDirs, mustRunPlugin, type PrintedResult } from '../../support/plugin.ts'
import type { Container, PrivateHost } from '../../support/space.ts'
import { kernelState } from '../../support/state.ts'
import { classic, errorOf, node, vethsOf } from './node.ts'

const conf: JsonObject = {
  ...classic,
  macspoofchk: true,
  hairpinMode: true,
  portIsolation: true,
  mtu: 1400,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
    routes: [
      { dst: '0.0.0.0/0', mtu: 1300, advmss: 1200 },
      { dst: '::/0' },
      { dst: '172.16.0.0/12', gw: '10.22.0.9', priority: 50 },
      { dst: '192.168.0.0/16', table: 700 },
    ],
  },
}

const attached = async (own = conf) => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(own, { container })
  const port = (await vethsOf(it.host))[0]!.ifname
  return { it, container, prevResult, port }
}

interface Attached {
  readonly host: PrivateHost
  readonly container: Container
  readonly port: string
}

describe('CHECK', () => {
  test('of what is as it should be succeeds and changes nothing', async () => {
    const { it, container, prevResult } = await attached()
    const states = async () => [await kernelState(it.host), await kernelState(container)]
    const before = await states()
    await it.check(conf, { container, prevResult })
    await it.check(conf, { container, prevResult })
    expect(await states()).toEqual(before)
  })

  const ip =
    (where: 'host' | 'container', command: string) =>
    async (it: Attached): Promise<void> =>
      it[where].ip(...command.replace('PORT', it.port).split(' '))
  const nft = (command: string) => async (it: Attached) => {
    await it.host.must('nft', command.replace('PORT', it.port).split(' '))
  }
  const sysctl = (name: string, value: string) => async (it: Attached) => {
    await it.host.must('sh', ['-c', `echo ${value} >/proc/sys/net/${name}`])
  }

  const broken: [what: string, harm: (it: Attached) => Promise<unknown>, complaint: RegExp][] = [
    ['the bridge is gone', ip('host', 'link del cni0'), /interface cni0 of the result does not exist/],
    ['the bridge is down', ip('host', 'link set cni0 down'), /bridge cni0 is down/],
    [
      "the bridge's MAC",
      ip('host', 'link set cni0 address 02:00:00:00:00:99'),
      /bridge cni0 has MAC 02:00:00:00:00:99, the result says/,
    ],
    [
      'the bridge is none',
      async (it) => {
        await it.host.ip('link', 'del', 'cni0')
        await it.host.ip('link', 'add', 'cni0', 'type', 'veth', 'peer', 'name', 'x')
      },
      /interface cni0 is not a bridge/,
    ],
    [
      "the gateway's IPv4 address",
      ip('host', 'address del 10.22.0.1/16 dev cni0'),
      /cni0 does not have the gateway's address 10.22.0.1\/16/,
    ],
    [
      "the gateway's IPv6 address",
      ip('host', 'address del fd00:22::1/64 dev cni0'),
      /does not have the gateway's address fd00:22::1\/64/,
    ],
    ['forwarding of IPv4', sysctl('ipv4/ip_forward', '0'), /the host does not forward IPv4/],
    ['forwarding of IPv6', sysctl('ipv6/conf/all/forwarding', '0'), /the host does not forward IPv6/],
    ['the port was unplugged', ip('host', 'link set PORT nomaster'), /is not a port of bridge cni0/],
    ['the port is down', ip('host', 'link set PORT down'), /bridge port in error state|is down/],
    ["the port's MTU", ip('host', 'link set PORT mtu 1280'), /has MTU 1280, the result says 1400/],
    ["the port's MAC", ip('host', 'link set PORT address 02:00:00:00:00:99'), /has MAC 02:00:00:00:00:99/],
    [
      'hairpin mode',
      ip('host', 'link set PORT type bridge_slave hairpin off'),
      /hairpin mode of veth\w+ is false, hairpinMode is true/,
    ],
    [
      'isolation',
      ip('host', 'link set PORT type bridge_slave isolated off'),
      /isolation of veth\w+ is false/,
    ],
    [
      'the interface is gone',
      ip('container', 'link del eth0'),
      /interface eth0 of the result does not exist/,
    ],
    ['the interface is down', ip('container', 'link set eth0 down'), /interface eth0 is down/],
    [
      "the interface's MAC",
      ip('container', 'link set eth0 address 02:00:00:00:00:99'),
      /eth0 has MAC 02:00:00:00:00:99/,
    ],
    [
      'its IPv4 address',
      ip('container', 'address del 10.22.0.2/16 dev eth0'),
      /address 10.22.0.2\/16 is not on interface eth0/,
    ],
    [
      'its IPv6 address',
      ip('container', 'address del fd00:22::2/64 dev eth0'),
      /address fd00:22::2\/64 is not on interface eth0/,
    ],
    [
      'its address has another prefix length',
      async (it) => {
        await it.container.ip('address', 'del', '10.22.0.2/16', 'dev', 'eth0')
        await it.container.ip('address', 'add', '10.22.0.2/24', 'dev', 'eth0')
      },
      /address 10.22.0.2\/16 is not on interface eth0; it has: .*10.22.0.2\/24/,
    ],
    [
      'its default route',
      ip('container', 'route del default'),
      /route 0.0.0.0\/0 via 10.22.0.1 is not in any table/,
    ],
    [
      "its default route's gateway",
      ip('container', 'route replace default via 10.22.0.77 mtu 1300 advmss 1200'),
      /route 0.0.0.0\/0 via 10.22.0.1 is not/,
    ],
    [
      "its default route's MTU",
      ip('container', 'route replace default via 10.22.0.1 mtu 1000 advmss 1200'),
      /route 0.0.0.0\/0 via 10.22.0.1 is not/,
    ],
    ['its IPv6 default route', ip('container', '-6 route del default'), /route ::\/0 via fd00:22::1 is not/],
    [
      "a route's priority",
      async (it) => {
        await it.container.ip('route', 'del', '172.16.0.0/12')
        await it.container.ip('route', 'add', '172.16.0.0/12', 'via', '10.22.0.9', 'metric', '51')
      },
      /route 172.16.0.0\/12 via 10.22.0.9 is not/,
    ],
    [
      'a route in another table',
      ip('container', 'route del 192.168.0.0/16 table 700'),
      /is not in table 700/,
    ],
    ["its subnet's route", ip('container', 'route del 10.22.0.0/16'), /there is no route to 10.22.0.0\/16/],
    [
      'the masquerade rules',
      nft('flush chain inet cni_plugins_masquerade masq_checks'),
      /IP masquerade: missing nftables/,
    ],
    [
      'the way to the masquerade rules',
      nft('flush chain inet cni_plugins_masquerade postrouting'),
      /IP masquerade: missing nftables/,
    ],
    ['the spoof check', nft('flush chain bridge nat PREROUTING'), /MAC spoof check: missing nftables/],
    [
      'the MAC in the spoof check',
      nft('flush chain bridge nat cni-br-iface-cid-1-eth0-mac'),
      /MAC spoof check: missing/,
    ],
    [
      'the reservation',
      async (it) =>
        it.host.must('rm', ['/var/lib/cni/networks/net/10.22.0.2', '/var/lib/cni/networks/net/fd00:22::2']),
      /host-local: Failed to find address added by container cid-1/,
    ],
  ]
  test.each(broken)('notices: %s', async (_what, harm, complaint) => {
    const { it, container, prevResult, port } = await attached()
    await harm({ host: it.host, container, port })
    const error = await errorOf(it.check(conf, { container, prevResult }))
    expect(error.message).toMatch(complaint)
    expect(error.code).toBe(999)
  })

  test.each([
    ['no result', undefined, /^Required prevResult missing/],
    [
      'a result without the bridge',
      (all: PrintedResult) => ({ ...all, interfaces: all.interfaces!.slice(1) }),
      /lists no bridge cni0/,
    ],
    [
      'a result without the interface',
      (all: PrintedResult) => ({ ...all, interfaces: all.interfaces!.slice(0, 2) }),
      /lists no interface eth0 in sandbox/,
    ],
    [
      'a result without the port',
      (all: PrintedResult) => ({
        ...all,
        interfaces: [all.interfaces![0]!, all.interfaces![0]!, all.interfaces![2]!],
      }),
      /lists no interface on the host that is the peer of eth0/,
    ],
    [
      'a result with an interface that is not there',
      (all: PrintedResult) => ({ ...all, interfaces: [...all.interfaces!, { name: 'bwp0123456789' }] }),
      /interface bwp0123456789 of the result does not exist/,
    ],
  ])('refuses %s', async (_what, change, complaint) => {
    const { it, container, prevResult } = await attached()
    const error = await errorOf(it.check(conf, { container, prevResult: change?.(prevResult) }))
    expect(error.message).toMatch(complaint)
  })

  test.each([
    ['hairpinMode', { hairpinMode: false }, /hairpin mode/],
    ['portIsolation', { portIsolation: false }, /isolation/],
    ['promiscMode', { hairpinMode: false, promiscMode: true }, /not in promiscuous mode/],
    ['bridge', { bridge: 'br9' }, /lists no bridge br9/],
  ])('notices that %s has changed', async (_key, changed, complaint) => {
    const { it, container, prevResult } = await attached()
    const error = await errorOf(it.check({ ...conf, ...changed }, { container, prevResult }))
    expect(error.message).toMatch(complaint)
  })

  test('takes what plugins behind it have added to the result, and what they have changed', async () => {
    const { it, container, prevResult } = await attached()
    await it.host.ip('link', 'add', 'bwp0', 'type', 'ifb')
    await container.ip('link', 'set', 'eth0', 'mtu', '1280')
    const longer = {
      ...prevResult,
      interfaces: [...prevResult.interfaces!, { name: 'bwp0' }, { name: 'wg0', sandbox: container.path }],
      ips: [...prevResult.ips!, { address: '10.99.0.1/24', gateway: '10.99.0.254', interface: 4 }],
    }
    await it.check(conf, { container, prevResult: longer })
  })

  test('accepts an attachment of either masquerade backend, whatever is configured by now', async () => {
    for (const [made, now] of [
      ['iptables', undefined],
      ['iptables', 'nftables'],
      ['nftables', 'iptables'],
    ]) {
      const before: JsonObject = { ...classic, ipMasqBackend: made! }
      const { it, container, prevResult } = await attached(before)
      await it.check({ ...classic, ...(now ? { ipMasqBackend: now } : {}) }, { container, prevResult })
      await it.host.must('iptables', ['-t', 'nat', '-F', 'POSTROUTING'])
      await it.host.must('nft', ['flush', 'ruleset'])
      const error = await errorOf(it.check(before, { container, prevResult }))
      expect(error.message).toMatch(/IP masquerade: missing/)
    }
  })

  test("accepts the reference plugin's attachment", async () => {
    const it = await node()
    const container = await it.host.container()
    const own: JsonObject = {
      cniVersion: '1.0.0',
      name: 'net',
      type: 'bridge',
      ...classic,
      macspoofchk: true,
    }
    const call = { host: it.host, netns: container.path, type: 'bridge', command: 'ADD', conf: own }
    const prevResult = await mustRunPlugin({ ...call, binDir: binDirs.go })
    await it.check(own, { container, prevResult })
  })
})
