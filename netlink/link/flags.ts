/** `IFF_*` of linux/if.h and the states of RFC 2863. */

/** Flags of an interface. `lowerUp`, `running`, `dormant` and `echo` are the kernel's to set. */
export const IFF = {
  up: 0x1,
  broadcast: 0x2,
  debug: 0x4,
  loopback: 0x8,
  pointToPoint: 0x10,
  noTrailers: 0x20,
  running: 0x40,
  noArp: 0x80,
  promisc: 0x100,
  allMulti: 0x200,
  master: 0x400,
  slave: 0x800,
  multicast: 0x1000,
  portSel: 0x2000,
  autoMedia: 0x4000,
  dynamic: 0x8000,
  lowerUp: 0x10000,
  dormant: 0x20000,
  echo: 0x40000,
} as const

/** `IF_OPER_*`: IFLA_OPERSTATE, in the words of `/sys/class/net/X/operstate`. */
export const operStates = {
  unknown: 0,
  notpresent: 1,
  down: 2,
  lowerlayerdown: 3,
  testing: 4,
  dormant: 5,
  up: 6,
} as const

/** `IF_LINK_MODE_*`: IFLA_LINKMODE. */
export const linkModes = { default: 0, dormant: 1, testing: 2 } as const

/** `ARPHRD_*` of linux/if_arp.h that are met in practice; other types stay numbers. */
export const linkTypes = {
  ether: 1,
  infiniband: 32,
  ppp: 512,
  ipip: 768,
  tunnel6: 769,
  loopback: 772,
  sit: 776,
  gre: 778,
  ieee80211: 801,
  netlink: 824,
  ip6gre: 823,
  none: 0xfffe,
} as const
