/** Names of the numbers in a route, linux/rtnetlink.h, in the words of `ip route`. */
import { chooser } from '../codec/values.ts'

/** `RTN_*`. */
export const routeTypes = {
  unspec: 0,
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
  xresolve: 11,
} as const

/** `RTPROT_*`: who made it. */
export const routeProtocols = {
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  mrouted: 17,
  keepalived: 18,
  babel: 42,
  openr: 99,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
} as const

/** `RT_TABLE_*`; other tables are numbers. */
export const routeTables = { compat: 252, default: 253, main: 254, local: 255 } as const

/** `RTNH_F_*`. `pervasive` and `onlink` can be set, the others are told. */
export const nexthopFlags = {
  dead: 1,
  pervasive: 2,
  onlink: 4,
  offload: 8,
  linkdown: 16,
  unresolved: 32,
  trap: 64,
} as const

/** `RTM_F_*`, in the same field. */
export const routeFlags = {
  ...nexthopFlags,
  cloned: 0x200,
  prefix: 0x800,
  offloaded: 0x4000,
  trapped: 0x8000,
  offloadFailed: 0x2000_0000,
} as const

export const type = chooser(routeTypes)
export const protocol = chooser(routeProtocols)
export const tableId = chooser(routeTables)
