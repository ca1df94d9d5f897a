/**
 * The kinds of links that are known by their attributes: each in a file of its own, and a line here. Other kinds can be
 * made and are listed too, their data as bytes.
 */
import { bond, bondPort } from './bond.ts'
import { bridge } from './bridge.ts'
import { bridgePort } from './bridge-port.ts'
import { dummy } from './dummy.ts'
import { ifb } from './ifb.ts'
import { ipvlan } from './ipvlan.ts'
import { macvlan } from './macvlan.ts'
import { tun } from './tun.ts'
import { veth } from './veth.ts'
import { vlan } from './vlan.ts'
import { vrf, vrfPort } from './vrf.ts'
import { vxlan } from './vxlan.ts'

/** IFLA_INFO_KIND to the layout of IFLA_INFO_DATA. */
export const kinds = {
  bond,
  bridge,
  dummy,
  ifb,
  ipvlan,
  macvlan,
  macvtap: macvlan,
  tun,
  veth,
  vlan,
  vrf,
  vxlan,
} as const

/** IFLA_INFO_SLAVE_KIND to the layout of IFLA_INFO_SLAVE_DATA: what a master keeps of each of its ports. */
export const portKinds = { bond: bondPort, bridge: bridgePort, vrf: vrfPort } as const
