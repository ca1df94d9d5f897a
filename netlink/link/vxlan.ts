import { table } from '../codec/table.ts'
import { be16, be32, bool, flag, ip, u8, u32 } from '../codec/types.ts'
import { choice, packed } from '../codec/values.ts'

/** `VXLAN_DF_*`. */
export const vxlanDf = { unset: 0, set: 1, inherit: 2 } as const

/**
 * `IFLA_VXLAN_*`, linux/if_link.h. IPv4 and IPv6 have attributes of their own: `group` and `local`, or `group6` and
 * `local6`. `ip link add NAME type vxlan id 42 dstport 4789`
 */
export const vxlan = table({
  id: [1, u32],
  group: [2, ip],
  /** Index of the interface the tunnel goes over. */
  link: [3, u32],
  local: [4, ip],
  ttl: [5, u8],
  tos: [6, u8],
  learning: [7, bool],
  /** Seconds. */
  ageing: [8, u32],
  limit: [9, u32],
  /** Source ports, `struct ifla_vxlan_port_range`. */
  portRange: [10, packed({ low: 'be16', high: 'be16' })],
  proxy: [11, bool],
  rsc: [12, bool],
  l2miss: [13, bool],
  l3miss: [14, bool],
  /** Destination port. Left out, the kernel takes 8472, which is not IANA's 4789. */
  port: [15, be16],
  group6: [16, ip],
  local6: [17, ip],
  udpCsum: [18, bool],
  udpZeroCsum6Tx: [19, bool],
  udpZeroCsum6Rx: [20, bool],
  remcsumTx: [21, bool],
  remcsumRx: [22, bool],
  gbp: [23, flag],
  remcsumNopartial: [24, flag],
  collectMetadata: [25, bool],
  label: [26, be32],
  gpe: [27, flag],
  ttlInherit: [28, bool],
  df: [29, choice(u8, vxlanDf)],
  vnifilter: [30, bool],
})
