/** The attributes of RTM_NEWLINK that every kind of link has: `IFLA_*`, linux/if_link.h. */
import { list, struct, table } from '../codec/table.ts'
import { bool, bytes, mac, s32, string, u8, u16, u32 } from '../codec/types.ts'
import { choice } from '../codec/values.ts'
import { linkModes, operStates } from './flags.ts'
import { interfaceName } from './name.ts'
import { namespaceFd } from './namespace.ts'

/** `struct ifinfomsg`, linux/rtnetlink.h. */
export const ifinfomsg = struct({
  family: 'u8',
  pad: [1],
  type: 'u16',
  index: 's32',
  flags: 'u32',
  change: 'u32',
})

/** `RTEXT_FILTER_*`, linux/rtnetlink.h: what IFLA_EXT_MASK asks for. */
export const RTEXT_FILTER = { vf: 1, brvlan: 2, brvlanCompressed: 4, skipStats: 8 } as const

const IFLA_ALT_IFNAME = 53

/** `IFLA_XDP_*`. */
export const xdp = table({
  fd: [1, s32],
  /** XDP_ATTACHED_*: 0 none, 1 driver, 2 generic, 3 hardware, 4 several. */
  attached: [2, u8],
  flags: [3, u32],
  progId: [4, u32],
  drvProgId: [5, u32],
  skbProgId: [6, u32],
  hwProgId: [7, u32],
  expectedFd: [8, s32],
})

/** Everything but what depends on the kind (IFLA_LINKINFO) or the family (IFLA_AF_SPEC, IFLA_PROTINFO). */
export const flatRows = {
  address: [1, mac],
  broadcast: [2, mac],
  ifname: [3, interfaceName],
  mtu: [4, u32],
  link: [5, u32],
  qdisc: [6, string],
  /** `struct rtnl_link_stats`: the 32-bit statistics, kept as bytes; `stats64` says the same. */
  stats: [7, bytes],
  master: [10, u32],
  txqlen: [13, u32],
  map: [14, bytes],
  weight: [15, u32],
  operstate: [16, choice(u8, operStates)],
  linkmode: [17, choice(u8, linkModes)],
  netNsPid: [19, u32],
  ifalias: [20, string],
  numVf: [21, u32],
  /** `struct rtnl_link_stats64`; decoded where it is asked for. */
  stats64: [23, bytes],
  group: [27, u32],
  netNsFd: [28, namespaceFd],
  extMask: [29, u32],
  promiscuity: [30, u32],
  numTxQueues: [31, u32],
  numRxQueues: [32, u32],
  carrier: [33, bool],
  physPortId: [34, bytes],
  carrierChanges: [35, u32],
  physSwitchId: [36, bytes],
  linkNetnsid: [37, s32],
  physPortName: [38, string],
  protoDown: [39, bool],
  gsoMaxSegs: [40, u32],
  gsoMaxSize: [41, u32],
  xdp: [43, xdp],
  event: [44, u32],
  newNetnsid: [45, s32],
  targetNetnsid: [46, s32],
  carrierUpCount: [47, u32],
  carrierDownCount: [48, u32],
  newIfindex: [49, s32],
  minMtu: [50, u32],
  maxMtu: [51, u32],
  propList: [52, list(string, IFLA_ALT_IFNAME)],
  altIfname: [53, string],
  permAddress: [54, mac],
  parentDevName: [56, string],
  parentDevBusName: [57, string],
  groMaxSize: [58, u32],
  tsoMaxSize: [59, u32],
  tsoMaxSegs: [60, u32],
  allmulti: [61, u32],
  devlinkPort: [62, bytes],
  gsoIpv4MaxSize: [63, u32],
  groIpv4MaxSize: [64, u32],
  dpllPin: [65, bytes],
  maxPacingOffloadHorizon: [66, u32],
  netnsImmutable: [67, bool],
  headroom: [68, u16],
  tailroom: [69, u16],
} as const
