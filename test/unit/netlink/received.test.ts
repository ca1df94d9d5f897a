import { describe, expect, it } from 'vitest'
import { addressLayout, toAddress } from '../../../netlink/address.ts'
import { bridgeVlan } from '../../../netlink/index.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { type Link, toLink } from '../../../netlink/link/object.ts'
import { readMessage } from '../../../netlink/request.ts'
import { routeLayout } from '../../../netlink/route/layout.ts'
import { toRoute } from '../../../netlink/route/object.ts'
import { answerTo } from './captured.ts'

const linkOf = (command: string, nth = 0): Link => {
  const message = readMessage(linkLayout, answerTo(command, nth)[0]!.payload)
  return toLink(message, message.attributes, true)
}

describe('links as the kernel tells them', () => {
  it('a veth that is a port of a bridge', () => {
    const veth = linkOf('ip -d link show dev veth0')
    expect(veth).toMatchObject({
      index: 20,
      name: 'veth0',
      altNames: ['a-name-that-is-longer-than-fifteen'],
      type: 'ether',
      up: true,
      flags: { up: true, lowerUp: true, running: true, promisc: false, noArp: false },
      operState: 'up',
      carrier: true,
      linkMode: 'default',
      mtu: 1500,
      minMtu: 68,
      maxMtu: 65535,
      address: '02:00:00:00:00:14',
      broadcast: 'ff:ff:ff:ff:ff:ff',
      master: 10,
      link: 21,
      linkNetnsId: undefined,
      txQueueLength: 1000,
      qdisc: 'noqueue',
      alias: 'uplink',
      group: 5,
      promiscuity: 1,
      kind: 'veth',
      data: undefined,
      portKind: 'bridge',
      portData: {
        hairpin: true,
        isolated: true,
        learning: true,
        cost: 2,
        priority: 32,
        rootId: '8000.02000000000a',
        holdTimer: 0n,
      },
      unknown: [],
    })
    expect(veth.afSpec?.inet?.conf).toMatchObject({ forwarding: 0, arpNotify: 0, arpEvictNocarrier: 1 })
    expect(veth.afSpec?.inet6).toMatchObject({ addrGenMode: 'eui64', conf: { hoplimit: 64, mtu6: 1500 } })
    expect(veth.statistics).toMatchObject({ rxBytes: expect.any(BigInt), rxOtherhostDropped: 0n })
  })

  it('a bridge', () => {
    expect(linkOf('ip -d link show dev br0')).toMatchObject({
      kind: 'bridge',
      up: false,
      operState: 'down',
      data: {
        ageingTime: 30000,
        forwardDelay: 1500,
        vlanFiltering: true,
        vlanProtocol: '802.1Q',
        vlanDefaultPvid: 1,
        bridgeId: '8000.02000000000a',
        groupAddr: '01:80:c2:00:00:00',
        multiBoolopt: { noLlLearn: true, mcastVlanSnooping: false, mstEnable: false },
        mcastQuerierIntvl: 25500n,
        gcTimer: 0n,
      },
      unknown: [],
    })
  })

  const kinds: Readonly<Record<string, object>> = {
    dummy0: { kind: 'dummy', flags: { noArp: true } },
    ifb7: { kind: 'ifb', txQueueLength: 32 },
    mv0: { kind: 'macvlan', link: 20, data: { mode: 'bridge', bcQueueLen: 2000, macaddrCount: 0 } },
    mvt0: { kind: 'macvtap', link: 20, data: { mode: 'vepa' } },
    ipv0: { kind: 'ipvlan', link: 20, data: { mode: 'l3s', flags: { private: true, vepa: false } } },
    'veth0.100': {
      kind: 'vlan',
      link: 20,
      data: {
        protocol: '802.1ad',
        id: 100,
        flags: { reorderHdr: false, looseBinding: true, gvrp: false, mvrp: false, bridgeBinding: false },
        egressQos: [
          { from: 1, to: 2 },
          { from: 3, to: 4 },
        ],
        ingressQos: [{ from: 5, to: 6 }],
      },
    },
    red: { kind: 'vrf', flags: { master: true }, data: { table: 1000 } },
    vx0: {
      kind: 'vxlan',
      mtu: 1450,
      data: {
        id: 42,
        group: '10.0.0.2',
        local: '10.0.0.1',
        link: 20,
        ttl: 64,
        learning: false,
        port: 4789,
        portRange: { low: 1000, high: 2000 },
        df: 'unset',
      },
    },
    bond0: {
      kind: 'bond',
      data: { mode: '802.3ad', miimon: 100, xmitHashPolicy: 'layer3+4', adLacpRate: 'slow' },
    },
    tap0: {
      kind: 'tun',
      data: { type: 'tap', owner: 1000, group: 100, persist: true, multiQueue: true, numQueues: 0 },
    },
  }
  for (const [name, expected] of Object.entries(kinds))
    it(`${name}`, () => {
      expect(linkOf(`ip -d link show dev ${name}`)).toMatchObject({ name, ...expected, unknown: [] })
    })

  it('ports of a VRF and of a bond', () => {
    expect(linkOf('ip -d link show dev veth0', 1)).toMatchObject({
      master: 10,
      portKind: 'vrf',
      portData: { table: 1000 },
    })
    expect(linkOf('ip -d link show dev veth0', 2)).toMatchObject({
      master: 10,
      portKind: 'bond',
      portData: { state: 'active', miiStatus: 'up', permHwaddr: '02:00:00:00:00:14', queueId: 0 },
    })
  })
})

describe('addresses as the kernel tells them', () => {
  const addressOf = (command: string) => {
    const message = readMessage(addressLayout, answerTo(command)[0]!.payload)
    return toAddress(message, message.attributes)
  }

  it('IPv4 with a peer: the address is the link’s own, the prefix the peer’s', () => {
    expect(addressOf('ip -4 address show dev veth0')).toMatchObject({
      index: 20,
      family: 4,
      address: '10.1.2.3/32',
      ip: '10.1.2.3',
      peer: '10.9.9.9/30',
      prefixLength: 30,
      label: 'veth0',
      scope: 'global',
      flags: { permanent: true, secondary: false },
      validLifetime: Number.POSITIVE_INFINITY,
    })
  })

  it('IPv6 with lifetimes', () => {
    expect(addressOf('ip -6 address show dev veth0')).toMatchObject({
      family: 6,
      address: '2001:db8::1/64',
      peer: undefined,
      flags: { nodad: true, tentative: false, permanent: false },
      validLifetime: 3600,
      preferredLifetime: 1800,
    })
  })
})

describe('routes as the kernel tells them', () => {
  const routeOf = (command: string, nth = 0) => {
    const message = readMessage(routeLayout, answerTo(command, nth)[0]!.payload)
    return toRoute(message, message.attributes)
  }

  it('one way, with metrics, in a table beyond 255', () => {
    expect(routeOf('ip route show table 1000')).toMatchObject({
      family: 4,
      dst: '10.5.0.0/16',
      gateway: '10.1.2.1',
      index: 20,
      priority: 100,
      table: 1000,
      protocol: 'static',
      type: 'unicast',
      scope: 'global',
      metrics: { mtu: 1400, advmss: 1360 },
      nexthops: [],
    })
  })

  it('several ways', () => {
    expect(routeOf('ip route show table 1000', 1)).toMatchObject({
      gateway: undefined,
      index: undefined,
      nexthops: [
        { index: 20, gateway: '10.1.2.1', weight: 1, flags: { onlink: false } },
        { index: 20, gateway: '10.1.2.2', weight: 5 },
      ],
    })
  })

  it('a look-up', () => {
    expect(routeOf('ip route get 10.5.6.7')).toMatchObject({
      dst: '10.5.6.7/32',
      gateway: '10.1.2.1',
      index: 20,
      preferredSource: '10.1.2.3',
      table: 254,
      flags: { cloned: true },
    })
  })
})

describe('VLANs as the kernel tells them', () => {
  it('of a port and of its bridge', () => {
    const [port, bridge] = bridgeVlan
      .list()
      .read(answerTo('bridge -c vlan show dev veth0').map((message) => ({ ...message, seq: 1 })))
    expect(port).toMatchObject({ index: 20, name: 'veth0', master: 10 })
    expect(port!.vlans).toHaveLength(12)
    expect(port!.vlans[0]).toEqual({ vid: 1, last: 1, pvid: true, untagged: true })
    expect(port!.vlans[11]).toEqual({ vid: 20, last: 20, pvid: false, untagged: true })
    expect(bridge).toMatchObject({ index: 10, vlans: [{ vid: 1, pvid: true }] })
  })
})
