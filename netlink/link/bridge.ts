import { table } from '../codec/table.ts'
import { be16, bool, bytes, flag, mac, u8, u16, u32, u64 } from '../codec/types.ts'
import { bridgeId, choice, maskedBits } from '../codec/values.ts'

/** Ethernet types of the VLAN tags a bridge or a VLAN interface uses, linux/if_ether.h. */
export const vlanProtocols = { '802.1Q': 0x8100, '802.1ad': 0x88a8 } as const

/** `BR_BOOLOPT_*` as bits, linux/if_bridge.h. */
export const boolOpts = {
  noLlLearn: 1 << 0,
  mcastVlanSnooping: 1 << 1,
  mstEnable: 1 << 2,
  mdbOffloadFailNotification: 1 << 3,
  fdbLocalVlan0: 1 << 4,
} as const

/**
 * `IFLA_BR_*`, linux/if_link.h. Times are in hundredths of a second (USER_HZ); those named timer are read-only, and so
 * are rootId, bridgeId, rootPort, rootPathCost, topologyChange*, mcastQuerierState and fdbNLearned.
 * `ip link add NAME type bridge [vlan_filtering 1] ...`
 */
export const bridge = table(
  {
    forwardDelay: [1, u32],
    helloTime: [2, u32],
    maxAge: [3, u32],
    ageingTime: [4, u32],
    /** 0 off, 1 the kernel's, 2 a daemon's. */
    stpState: [5, u32],
    priority: [6, u16],
    vlanFiltering: [7, bool],
    vlanProtocol: [8, choice(be16, vlanProtocols)],
    groupFwdMask: [9, u16],
    rootId: [10, bridgeId],
    bridgeId: [11, bridgeId],
    rootPort: [12, u16],
    rootPathCost: [13, u32],
    topologyChange: [14, bool],
    topologyChangeDetected: [15, bool],
    helloTimer: [16, u64],
    tcnTimer: [17, u64],
    topologyChangeTimer: [18, u64],
    gcTimer: [19, u64],
    groupAddr: [20, mac],
    /** Write-only: `ip link set NAME type bridge fdb_flush`. */
    fdbFlush: [21, flag],
    mcastRouter: [22, u8],
    mcastSnooping: [23, bool],
    mcastQueryUseIfaddr: [24, bool],
    mcastQuerier: [25, bool],
    mcastHashElasticity: [26, u32],
    mcastHashMax: [27, u32],
    mcastLastMemberCnt: [28, u32],
    mcastStartupQueryCnt: [29, u32],
    mcastLastMemberIntvl: [30, u64],
    mcastMembershipIntvl: [31, u64],
    mcastQuerierIntvl: [32, u64],
    mcastQueryIntvl: [33, u64],
    mcastQueryResponseIntvl: [34, u64],
    mcastStartupQueryIntvl: [35, u64],
    nfCallIptables: [36, bool],
    nfCallIp6tables: [37, bool],
    nfCallArptables: [38, bool],
    /** The VLAN that new ports get as pvid and untagged; 0: none. */
    vlanDefaultPvid: [39, u16],
    vlanStatsEnabled: [41, bool],
    mcastStatsEnabled: [42, bool],
    mcastIgmpVersion: [43, u8],
    mcastMldVersion: [44, u8],
    vlanStatsPerPort: [45, bool],
    /** Options named are changed, the others stay. Since Linux 5.0. */
    multiBoolopt: [46, maskedBits(boolOpts)],
    mcastQuerierState: [47, bytes],
    fdbNLearned: [48, u32],
    fdbMaxLearned: [49, u32],
  },
  { dense: true },
)
