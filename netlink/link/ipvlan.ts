import { table } from '../codec/table.ts'
import { u16 } from '../codec/types.ts'
import { bits, choice } from '../codec/values.ts'

/** `IPVLAN_MODE_*`. */
export const ipvlanModes = { l2: 0, l3: 1, l3s: 2 } as const
/** `IPVLAN_F_*`. */
export const ipvlanFlags = { private: 1, vepa: 2 } as const

/**
 * `IFLA_IPVLAN_*`, linux/if_link.h. `link.add` needs `link`, the lower interface; its ports all have one mode.
 * `ip link add NAME link MASTER type ipvlan mode l2`
 */
export const ipvlan = table({
  mode: [1, choice(u16, ipvlanModes)],
  flags: [2, bits(u16, ipvlanFlags)],
})
