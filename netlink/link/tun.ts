import { table } from '../codec/table.ts'
import { bool, u8, u32 } from '../codec/types.ts'
import { choice } from '../codec/values.ts'

/** IFF_TUN and IFF_TAP, linux/if_tun.h. */
export const tunTypes = { tun: 1, tap: 2 } as const

/** `IFLA_TUN_*`, linux/if_link.h. Read-only: they are made with ioctls on /dev/net/tun. */
export const tun = table({
  owner: [1, u32],
  group: [2, u32],
  type: [3, choice(u8, tunTypes)],
  pi: [4, bool],
  vnetHdr: [5, bool],
  persist: [6, bool],
  multiQueue: [7, bool],
  numQueues: [8, u32],
  numDisabledQueues: [9, u32],
})
