import { list, table } from '../codec/table.ts'
import { mac, s32, u16, u32 } from '../codec/types.ts'
import { bits, choice } from '../codec/values.ts'

/** `MACVLAN_MODE_*`. */
export const macvlanModes = { private: 1, vepa: 2, bridge: 4, passthru: 8, source: 16 } as const
/** `MACVLAN_MACADDR_*`: what to do with `macaddr` and `macaddrData` in mode source. */
export const macaddrModes = { add: 0, del: 1, flush: 2, set: 3 } as const
/** `MACVLAN_FLAG_*`. */
export const macvlanFlags = { nopromisc: 1, nodst: 2 } as const

const IFLA_MACVLAN_MACADDR = 4

/**
 * `IFLA_MACVLAN_*`, linux/if_link.h; macvtap has the same. `link.add` needs `link`, the lower interface.
 * `ip link add NAME link MASTER type macvlan mode bridge`
 */
export const macvlan = table({
  mode: [1, choice(u32, macvlanModes)],
  flags: [2, bits(u16, macvlanFlags)],
  macaddrMode: [3, choice(u32, macaddrModes)],
  macaddr: [4, mac],
  macaddrData: [5, list(mac, IFLA_MACVLAN_MACADDR)],
  macaddrCount: [6, u32],
  /** Broadcast packets waiting for delivery; since Linux 5.11. */
  bcQueueLen: [7, u32],
  bcQueueLenUsed: [8, u32],
  bcCutoff: [9, s32],
})
