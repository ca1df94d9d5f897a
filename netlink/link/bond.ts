import { list, table } from '../codec/table.ts'
import { bool, ip, mac, u8, u16, u32 } from '../codec/types.ts'
import { choice } from '../codec/values.ts'

/** `BOND_MODE_*`, linux/if_bonding.h, in the words of iproute2. */
export const bondModes = {
  'balance-rr': 0,
  'active-backup': 1,
  'balance-xor': 2,
  broadcast: 3,
  '802.3ad': 4,
  'balance-tlb': 5,
  'balance-alb': 6,
} as const
/** `BOND_XMIT_POLICY_*`. */
export const xmitHashPolicies = {
  layer2: 0,
  'layer3+4': 1,
  'layer2+3': 2,
  'encap2+3': 3,
  'encap3+4': 4,
  'vlan+srcmac': 5,
} as const
export const lacpRates = { slow: 0, fast: 1 } as const

/** `IFLA_BOND_AD_INFO_*`, read-only. */
const adInfo = table({
  aggregator: [1, u16],
  numPorts: [2, u16],
  actorKey: [3, u16],
  partnerKey: [4, u16],
  partnerMac: [5, mac],
})

/** Targets of ARP or neighbour probes: the type of each element is its position. */
const targets = list(ip, 0)

/** `IFLA_BOND_*`, linux/if_link.h. Times in milliseconds. `ip link add NAME type bond mode active-backup miimon 100` */
export const bond = table({
  mode: [1, choice(u8, bondModes)],
  activeSlave: [2, u32],
  miimon: [3, u32],
  updelay: [4, u32],
  downdelay: [5, u32],
  useCarrier: [6, bool],
  arpInterval: [7, u32],
  arpIpTarget: [8, targets],
  arpValidate: [9, u32],
  arpAllTargets: [10, u32],
  primary: [11, u32],
  primaryReselect: [12, u8],
  failOverMac: [13, u8],
  xmitHashPolicy: [14, choice(u8, xmitHashPolicies)],
  resendIgmp: [15, u32],
  numPeerNotif: [16, u8],
  allSlavesActive: [17, bool],
  minLinks: [18, u32],
  lpInterval: [19, u32],
  packetsPerSlave: [20, u32],
  adLacpRate: [21, choice(u8, lacpRates)],
  adSelect: [22, u8],
  adInfo: [23, adInfo],
  adActorSysPrio: [24, u16],
  adUserPortKey: [25, u16],
  adActorSystem: [26, mac],
  tlbDynamicLb: [27, bool],
  peerNotifDelay: [28, u32],
  adLacpActive: [29, bool],
  missedMax: [30, u8],
  nsIp6Target: [31, targets],
  coupledControl: [32, bool],
})

/** `IFLA_BOND_SLAVE_*`: one port of a bond. Writable are `queueId`, `prio` and `actorPortPrio`. */
export const bondPort = table({
  state: [1, choice(u8, { active: 0, backup: 1 })],
  miiStatus: [2, choice(u8, { up: 0, fail: 1, down: 2, back: 3 })],
  linkFailureCount: [3, u32],
  permHwaddr: [4, mac],
  queueId: [5, u16],
  adAggregatorId: [6, u16],
  adActorOperPortState: [7, u8],
  adPartnerOperPortState: [8, u16],
  prio: [9, u32],
  actorPortPrio: [10, u16],
})
