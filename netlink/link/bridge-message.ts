/** Link messages of the family AF_BRIDGE: what a bridge says of its ports, and the VLANs of both. */
import { table } from '../codec/table.ts'
import { bytes, mac, u8, u16, u32 } from '../codec/types.ts'
import { bits, choice, packed } from '../codec/values.ts'
import { ifinfomsg } from './attributes.ts'
import { bridgePort } from './bridge-port.ts'
import { operStates } from './flags.ts'
import { interfaceName } from './name.ts'

/** `BRIDGE_FLAGS_*`, linux/if_bridge.h: who is meant, the bridge that a link is a port of, or the link itself. */
export const bridgeFlags = { master: 1, self: 2 } as const

/** `BRIDGE_VLAN_INFO_*`, linux/if_bridge.h. */
export const vlanInfoFlags = {
  master: 1,
  pvid: 2,
  untagged: 4,
  rangeBegin: 8,
  rangeEnd: 16,
  brentry: 32,
  onlyOpts: 64,
} as const

/** `IFLA_BRIDGE_*`: IFLA_AF_SPEC in this family. */
export const bridgeAfSpec = table({
  flags: [0, bits(u16, bridgeFlags)],
  mode: [1, u16],
  vlanInfo: [2, packed({ flags: 'u16', vid: 'u16' }), 'multi'],
  vlanTunnelInfo: [3, bytes, 'multi'],
})

export const bridgeMessageLayout = {
  header: ifinfomsg,
  attributes: table({
    address: [1, mac],
    ifname: [3, interfaceName],
    mtu: [4, u32],
    link: [5, u32],
    master: [10, u32],
    protinfo: [12, bridgePort],
    operstate: [16, choice(u8, operStates)],
    afSpec: [26, bridgeAfSpec],
    extMask: [29, u32],
  }),
} as const
