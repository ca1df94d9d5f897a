import { list, table } from '../codec/table.ts'
import { be16, u16 } from '../codec/types.ts'
import { choice, maskedBits, packed } from '../codec/values.ts'
import { vlanProtocols } from './bridge.ts'

/** `VLAN_FLAG_*`, linux/if_vlan.h. */
export const vlanFlags = { reorderHdr: 1, gvrp: 2, looseBinding: 4, mvrp: 8, bridgeBinding: 16 } as const

/** IFLA_VLAN_QOS_MAPPING: `struct ifla_vlan_qos_mapping`, packet priority and VLAN priority or the other way round. */
const qosMap = list(packed({ from: 'u32', to: 'u32' }), 1)

/**
 * `IFLA_VLAN_*`, linux/if_link.h. `link.add` needs `link`, the lower interface, and `id`.
 * `ip link add NAME link MASTER type vlan id 100`
 */
export const vlan = table({
  /** 0 to 4094. */
  id: [1, u16],
  flags: [2, maskedBits(vlanFlags)],
  egressQos: [3, qosMap],
  ingressQos: [4, qosMap],
  protocol: [5, choice(be16, vlanProtocols)],
})
