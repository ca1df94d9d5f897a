import { table } from '../codec/table.ts'
import { u32 } from '../codec/types.ts'

/** `IFLA_VRF_*`, linux/if_link.h. `ip link add NAME type vrf table 10` */
export const vrf = table({ table: [1, u32] })

/** `IFLA_VRF_PORT_*`: what an interface in a VRF says of it. Read-only. */
export const vrfPort = table({ table: [1, u32] })
