import { table } from '../codec/table.ts'
import { bool, flag, u8, u16, u32, u64 } from '../codec/types.ts'
import { bridgeId, choice } from '../codec/values.ts'

/** `BR_STATE_*`, linux/if_bridge.h. */
export const portStates = { disabled: 0, listening: 1, learning: 2, forwarding: 3, blocking: 4 } as const

/**
 * `IFLA_BRPORT_*`, linux/if_link.h: settings of one port of a bridge. Read-only: the ids, designated*, id, no,
 * topologyChangeAck, configPending, the timers, mcastEhtHostsCnt, mcastNGroups.
 * `ip link set NAME type bridge_slave hairpin on ...`
 */
export const bridgePort = table(
  {
    state: [1, choice(u8, portStates)],
    priority: [2, u16],
    cost: [3, u32],
    /** IFLA_BRPORT_MODE, which everybody calls hairpin: frames may leave by the port they came in. */
    hairpin: [4, bool],
    guard: [5, bool],
    protect: [6, bool],
    fastLeave: [7, bool],
    learning: [8, bool],
    unicastFlood: [9, bool],
    proxyarp: [10, bool],
    learningSync: [11, bool],
    proxyarpWifi: [12, bool],
    rootId: [13, bridgeId],
    bridgeId: [14, bridgeId],
    designatedPort: [15, u16],
    designatedCost: [16, u16],
    id: [17, u16],
    no: [18, u16],
    topologyChangeAck: [19, bool],
    configPending: [20, bool],
    messageAgeTimer: [21, u64],
    forwardDelayTimer: [22, u64],
    holdTimer: [23, u64],
    /** Write-only: forgets the addresses learned on the port. */
    flush: [24, flag],
    multicastRouter: [25, u8],
    mcastFlood: [27, bool],
    mcastToUcast: [28, bool],
    vlanTunnel: [29, bool],
    bcastFlood: [30, bool],
    groupFwdMask: [31, u16],
    neighSuppress: [32, bool],
    /** Isolated ports reach only ports that are not. Since Linux 4.18. */
    isolated: [33, bool],
    backupPort: [34, u32],
    mrpRingOpen: [35, bool],
    mrpInOpen: [36, bool],
    mcastEhtHostsLimit: [37, u32],
    mcastEhtHostsCnt: [38, u32],
    /** Since Linux 5.18. */
    locked: [39, bool],
    mab: [40, bool],
    mcastNGroups: [41, u32],
    mcastMaxGroups: [42, u32],
    neighVlanSuppress: [43, bool],
    backupNhid: [44, u32],
  },
  { dense: true },
)
