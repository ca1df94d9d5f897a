import { describe, expect, it } from 'vitest'
import { addressLayout } from '../../../netlink/address.ts'
import { encode } from '../../../netlink/exchange.ts'
import {
  address,
  bridgeVlan,
  fdb,
  link,
  neighbour,
  type Request,
  route,
  rule,
} from '../../../netlink/index.ts'
import { bridgeMessageLayout } from '../../../netlink/link/bridge-message.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { neighbourLayout } from '../../../netlink/neighbour.ts'
import { type Layout, readMessage } from '../../../netlink/request.ts'
import { routeLayout } from '../../../netlink/route/layout.ts'
import { ruleLayout } from '../../../netlink/rule.ts'
import { captured, messagesOf } from './captured.ts'

/** The requests that say the same as the captured commands. */
const requests: Readonly<Record<string, Request<unknown>>> = {
  'ip link add veth0 index 20 mtu 1400 txqueuelen 0 address 02:00:00:00:00:14 type veth peer name eth0 index 21 mtu 1300 address 02:00:00:00:00:15':
    link.add({
      name: 'veth0',
      index: 20,
      mtu: 1400,
      txQueueLength: 0,
      address: '02:00:00:00:00:14',
      kind: 'veth',
      data: { peer: { name: 'eth0', index: 21, mtu: 1300, address: '02:00:00:00:00:15' } },
    }),
  'ip link add br0 index 10 type bridge ageing_time 30000 vlan_filtering 1 vlan_default_pvid 0 vlan_protocol 802.1ad stp_state 0 group_fwd_mask 8 mcast_snooping 0 mcast_querier_interval 25500 priority 4096 forward_delay 1500 nf_call_iptables 1 no_linklocal_learn 1':
    link.add({
      name: 'br0',
      index: 10,
      kind: 'bridge',
      data: {
        ageingTime: 30000,
        vlanFiltering: true,
        vlanDefaultPvid: 0,
        vlanProtocol: '802.1ad',
        stpState: 0,
        groupFwdMask: 8,
        mcastSnooping: false,
        mcastQuerierIntvl: 25500n,
        priority: 4096,
        forwardDelay: 1500,
        nfCallIptables: true,
        multiBoolopt: { noLlLearn: true },
      },
    }),
  'ip link add dummy0 index 10 group 7 type dummy': link.add({
    name: 'dummy0',
    index: 10,
    group: 7,
    kind: 'dummy',
  }),
  'ip link add ifb7 numtxqueues 2 numrxqueues 2 type ifb': link.add({
    name: 'ifb7',
    numTxQueues: 2,
    numRxQueues: 2,
    kind: 'ifb',
  }),
  'ip link add link veth0 name mv0 type macvlan mode bridge bcqueuelen 2000': link.add({
    link: 20,
    name: 'mv0',
    kind: 'macvlan',
    data: { mode: 'bridge', bcQueueLen: 2000 },
  }),
  'ip link add link veth0 name mv0 type macvlan mode passthru nopromisc': link.add({
    link: 20,
    name: 'mv0',
    kind: 'macvlan',
    data: { mode: 'passthru', flags: { nopromisc: true } },
  }),
  'ip link add link veth0 name mvt0 type macvtap mode vepa': link.add({
    link: 20,
    name: 'mvt0',
    kind: 'macvtap',
    data: { mode: 'vepa' },
  }),
  'ip link add link veth0 name ipv0 type ipvlan mode l3s private': link.add({
    link: 20,
    name: 'ipv0',
    kind: 'ipvlan',
    data: { mode: 'l3s', flags: { private: true } },
  }),
  'ip link add link veth0 name veth0.100 type vlan protocol 802.1ad id 100 reorder_hdr off loose_binding on egress-qos-map 1:2 3:4 ingress-qos-map 5:6':
    link.add({
      link: 20,
      name: 'veth0.100',
      kind: 'vlan',
      data: {
        protocol: '802.1ad',
        id: 100,
        flags: { reorderHdr: false, looseBinding: true },
        egressQos: [
          { from: 1, to: 2 },
          { from: 3, to: 4 },
        ],
        ingressQos: [{ from: 5, to: 6 }],
      },
    }),
  'ip link add red type vrf table 1000': link.add({ name: 'red', kind: 'vrf', data: { table: 1000 } }),
  'ip link add vx0 type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dev veth0 srcport 1000 2000 dstport 4789 ttl 64 nolearning':
    link.add({
      name: 'vx0',
      kind: 'vxlan',
      data: {
        id: 42,
        group: '10.0.0.2',
        local: '10.0.0.1',
        link: 20,
        ttl: 64,
        learning: false,
        portRange: { low: 1000, high: 2000 },
        port: 4789,
      },
    }),
  'ip link add bond0 type bond mode active-backup miimon 100 updelay 200 xmit_hash_policy layer3+4 arp_ip_target 10.0.0.1,10.0.0.2':
    link.add({
      name: 'bond0',
      kind: 'bond',
      data: {
        mode: 'active-backup',
        miimon: 100,
        updelay: 200,
        xmitHashPolicy: 'layer3+4',
        arpIpTarget: ['10.0.0.1', '10.0.0.2'],
      },
    }),
  'ip link set dev veth0 up mtu 1300 address 02:00:00:00:00:99 alias uplink group 5 txqueuelen 77': link.set(
    20,
    {
      up: true,
      mtu: 1300,
      address: '02:00:00:00:00:99',
      alias: 'uplink',
      group: 5,
      txQueueLength: 77,
    },
  ),
  'ip link set dev veth0 promisc on allmulticast on multicast off arp off': link.set(20, {
    promisc: true,
    allMulti: true,
    multicast: false,
    arp: false,
  }),
  'ip link set dev veth0 down name lan0': link.set(20, { up: false, name: 'lan0' }),
  'ip link set dev veth0 master br0': link.set(20, { master: 10 }),
  'ip link set dev veth0 nomaster': link.set(20, { master: null }),
  'ip link set dev veth0 addrgenmode none': link.set(20, { afSpec: { inet6: { addrGenMode: 'none' } } }),
  'ip link set dev br0 type bridge vlan_filtering 1 mcast_snooping 0': link.setKind(10, {
    kind: 'bridge',
    data: { vlanFiltering: true, mcastSnooping: false },
  }),
  'ip link set dev veth0 type bridge_slave hairpin on isolated on learning off flood off mcast_flood off bcast_flood off guard on root_block on fastleave on cost 7 priority 9 vlan_tunnel on neigh_suppress on proxy_arp on':
    link.setBridgePort(20, {
      hairpin: true,
      isolated: true,
      learning: false,
      unicastFlood: false,
      mcastFlood: false,
      bcastFlood: false,
      guard: true,
      protect: true,
      fastLeave: true,
      cost: 7,
      priority: 9,
      vlanTunnel: true,
      neighSuppress: true,
      proxyarp: true,
    }),
  'ip link delete dev veth0': link.delete(20),
  'ip link delete group 7': link.delete({ group: 7 }),
  'ip link property add dev veth0 altname one altname a-name-that-is-longer-than-fifteen': link.addAltNames(
    20,
    ['one', 'a-name-that-is-longer-than-fifteen'],
  ),
  'ip address add 10.1.2.3/24 brd + dev veth0 label veth0:web scope link': address.add({
    index: 20,
    address: '10.1.2.3/24',
    broadcast: 'auto',
    label: 'veth0:web',
    scope: 'link',
  }),
  'ip address add 10.1.2.3 peer 10.9.9.9/30 dev veth0': address.add({
    index: 20,
    address: '10.1.2.3',
    peer: '10.9.9.9/30',
  }),
  'ip address add 2001:db8::1/64 dev veth0 nodad noprefixroute valid_lft 3600 preferred_lft 1800 metric 77':
    address.add({
      index: 20,
      address: '2001:db8::1/64',
      flags: { nodad: true, noprefixroute: true },
      validLifetime: 3600,
      preferredLifetime: 1800,
      metric: 77,
    }),
  'ip address replace 2001:db8::1/64 dev veth0 home': address.replace({
    index: 20,
    address: '2001:db8::1/64',
    flags: { homeaddress: true },
  }),
  'ip address del 10.1.2.3/24 dev veth0': address.delete({ index: 20, address: '10.1.2.3/24' }),
  'ip route add default via 10.1.2.1 dev veth0': route.add({
    dst: 'default',
    gateway: '10.1.2.1',
    index: 20,
  }),
  'ip route add 10.5.0.0/16 via 10.1.2.1 dev veth0 src 10.1.2.3 metric 100 table 1000 proto static mtu 1400 advmss 1360 hoplimit 9 initcwnd 20':
    route.add({
      dst: '10.5.0.0/16',
      gateway: '10.1.2.1',
      index: 20,
      preferredSource: '10.1.2.3',
      priority: 100,
      table: 1000,
      protocol: 'static',
      metrics: { mtu: 1400, advmss: 1360, hoplimit: 9, initcwnd: 20 },
    }),
  'ip route prepend 10.5.0.0/16 dev veth0': route.add({ dst: '10.5.0.0/16', index: 20, mode: 'create' }),
  'ip route append 10.5.0.0/16 dev veth0': route.append({ dst: '10.5.9.9/16', index: 20 }),
  'ip route replace 10.5.0.0/16 via 10.7.7.7 dev veth0 onlink': route.replace({
    dst: '10.5.0.0/16',
    gateway: '10.7.7.7',
    index: 20,
    flags: { onlink: true },
  }),
  'ip route add 10.5.0.0/16 nexthop via 10.1.2.1 dev veth0 weight 1 nexthop via 10.1.2.2 dev veth0 weight 5':
    route.add({
      dst: '10.5.0.0/16',
      nexthops: [
        { gateway: '10.1.2.1', index: 20 },
        { gateway: '10.1.2.2', index: 20, weight: 5 },
      ],
    }),
  'ip route add blackhole 10.6.0.0/16': route.add({ dst: '10.6.0.0/16', type: 'blackhole' }),
  'ip route add 10.5.0.0/16 via inet6 fe80::1 dev veth0': route.add({
    dst: '10.5.0.0/16',
    gateway: 'fe80::1',
    index: 20,
  }),
  'ip route add 2001:db8:5::/48 via 2001:db8::2 dev veth0 metric 5 pref high expires 600': route.add({
    dst: '2001:db8:5::/48',
    gateway: '2001:db8::2',
    index: 20,
    priority: 5,
    preference: 'high',
    expires: 600,
  }),
  'ip route del 10.5.0.0/16 dev veth0': route.delete({ dst: '10.5.0.0/16', index: 20 }),
  'ip rule add not from 10.1.0.0/16 to 10.2.0.0/16 iif lo fwmark 0x10/0xff ipproto tcp sport 10-20 dport 80 uidrange 100-200 priority 77 table 1000 suppress_prefixlength 0':
    rule.add({
      invert: true,
      from: '10.1.0.0/16',
      to: '10.2.0.0/16',
      inputName: 'lo',
      mark: 0x10,
      mask: 0xff,
      ipProtocol: 6,
      sourcePorts: { start: 10, end: 20 },
      destinationPorts: { start: 80, end: 80 },
      uids: { start: 100, end: 200 },
      priority: 77,
      table: 1000,
      suppressPrefixLength: 0,
    }),
  'ip -6 rule add from 2001:db8::/32 priority 5 goto 32766': rule.add({
    from: '2001:db8::/32',
    priority: 5,
    goto: 32766,
  }),
  'ip rule add l3mdev priority 1000': rule.add({ l3mdev: true, priority: 1000 }),
  'ip rule del from 10.1.0.0/16 table 1000 priority 77': rule.delete({
    from: '10.1.0.0/16',
    table: 1000,
    priority: 77,
  }),
  'ip neighbour add 10.1.2.9 lladdr 02:00:00:00:00:09 dev veth0 nud permanent': neighbour.add({
    index: 20,
    ip: '10.1.2.9',
    address: '02:00:00:00:00:09',
  }),
  'ip neighbour add proxy 10.1.2.9 dev veth0': neighbour.add({ index: 20, ip: '10.1.2.9', proxy: true }),
  'ip neighbour replace 10.1.2.9 lladdr 02:00:00:00:00:09 dev veth0 nud reachable router': neighbour.replace({
    index: 20,
    ip: '10.1.2.9',
    address: '02:00:00:00:00:09',
    state: 'reachable',
    flags: { router: true },
  }),
  'bridge fdb add 02:00:00:00:00:09 dev veth0 master static vlan 5': fdb.add({
    index: 20,
    address: '02:00:00:00:00:09',
    flags: { master: true },
    state: 'static',
    vlan: 5,
  }),
  'bridge vlan add vid 10-20 dev veth0 untagged': bridgeVlan.add(20, [{ vid: 10, last: 20, untagged: true }]),
  'bridge vlan add vid 7 dev br0 pvid untagged self': bridgeVlan.add(
    10,
    [{ vid: 7, pvid: true, untagged: true }],
    { self: true },
  ),
  'bridge vlan del vid 1 dev veth0': bridgeVlan.delete(20, [{ vid: 1 }]),
}

const AF_BRIDGE = 7

/** iproute2 names a port's kind as its own (IFLA_INFO_KIND "bridge_slave"), which the kernel overlooks. */
const asPort = (hex: string): string => {
  const attribute = (type: string, kind: string) =>
    `1000${type}${Buffer.from(kind.padEnd(12, '\0')).toString('hex')}`
  return hex.replace(attribute('0100', 'bridge_slave'), attribute('0400', 'bridge'))
}

const layoutOf = (type: number, family: number): Layout<never, never> => {
  const layouts = [
    [[16, 17, 19, 108], family === AF_BRIDGE ? bridgeMessageLayout : linkLayout],
    [[20, 21], addressLayout],
    [[24, 25], routeLayout],
    [[28, 29], neighbourLayout],
    [[32, 33], ruleLayout],
  ] as const
  const found = layouts.find(([types]) => (types as readonly number[]).includes(type))
  if (!found) throw new Error(`no layout of message type ${type}`)
  return found[1] as unknown as Layout<never, never>
}

const read = (hex: string) => {
  const [message] = messagesOf(hex)
  const { type, flags, payload } = message!
  const { attributes, ...header } = readMessage(layoutOf(type, payload.u8(0)), payload)
  return { type, flags, header, attributes: attributes as Record<string, unknown> }
}

describe('requests say what iproute2 says', () => {
  for (const { command, sent } of captured)
    if (sent !== undefined)
      it(command, () => {
        const request = requests[command]
        if (!request) throw new Error('no request for it in this file')
        const theirs = read(asPort(sent))
        expect(theirs.attributes).not.toHaveProperty('unknown')
        const ours = read(Buffer.from(encode([request], 1)).toString('hex'))
        expect(ours).toEqual(theirs)
      })
})
