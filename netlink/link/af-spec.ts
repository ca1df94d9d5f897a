/**
 * IFLA_AF_SPEC: settings of one interface that belong to an address family. Of an interface that exists: a message that
 * makes one is refused with them.
 */
import { table } from '../codec/table.ts'
import type { Codec } from '../codec/types.ts'
import { bytes, ip, u8, u32 } from '../codec/types.ts'
import { choice, packed } from '../codec/values.ts'
import { littleEndian } from '../codec/writer.ts'

/** `IPV4_DEVCONF_*`, linux/ip.h: `/proc/sys/net/ipv4/conf/X/*`. */
export const ipv4Conf = {
  forwarding: 1,
  mcForwarding: 2,
  proxyArp: 3,
  acceptRedirects: 4,
  secureRedirects: 5,
  sendRedirects: 6,
  sharedMedia: 7,
  rpFilter: 8,
  acceptSourceRoute: 9,
  bootpRelay: 10,
  logMartians: 11,
  tag: 12,
  arpfilter: 13,
  mediumId: 14,
  noxfrm: 15,
  nopolicy: 16,
  forceIgmpVersion: 17,
  arpAnnounce: 18,
  arpIgnore: 19,
  promoteSecondaries: 20,
  arpAccept: 21,
  arpNotify: 22,
  acceptLocal: 23,
  srcVmark: 24,
  proxyArpPvlan: 25,
  routeLocalnet: 26,
  igmpv2UnsolicitedReportInterval: 27,
  igmpv3UnsolicitedReportInterval: 28,
  ignoreRoutesWithLinkdown: 29,
  dropUnicastInL2Multicast: 30,
  dropGratuitousArp: 31,
  bcForwarding: 32,
  arpEvictNocarrier: 33,
} as const

/** `DEVCONF_*`, linux/ipv6.h: `/proc/sys/net/ipv6/conf/X/*`. Netlink only tells them; sysctls change them. */
export const ipv6Conf = {
  forwarding: 0,
  hoplimit: 1,
  mtu6: 2,
  acceptRa: 3,
  acceptRedirects: 4,
  autoconf: 5,
  dadTransmits: 6,
  rtrSolicits: 7,
  rtrSolicitInterval: 8,
  rtrSolicitDelay: 9,
  useTempaddr: 10,
  tempValidLft: 11,
  tempPreferedLft: 12,
  regenMaxRetry: 13,
  maxDesyncFactor: 14,
  maxAddresses: 15,
  forceMldVersion: 16,
  acceptRaDefrtr: 17,
  acceptRaPinfo: 18,
  acceptRaRtrPref: 19,
  rtrProbeInterval: 20,
  acceptRaRtInfoMaxPlen: 21,
  proxyNdp: 22,
  optimisticDad: 23,
  acceptSourceRoute: 24,
  mcForwarding: 25,
  disableIpv6: 26,
  acceptDad: 27,
  forceTllao: 28,
  ndiscNotify: 29,
  mldv1UnsolicitedReportInterval: 30,
  mldv2UnsolicitedReportInterval: 31,
  suppressFragNdisc: 32,
  acceptRaFromLocal: 33,
  useOptimistic: 34,
  acceptRaMtu: 35,
  stableSecret: 36,
  useOifAddrsOnly: 37,
  acceptRaMinHopLimit: 38,
  ignoreRoutesWithLinkdown: 39,
  dropUnicastInL2Multicast: 40,
  dropUnsolicitedNa: 41,
  keepAddrOnDown: 42,
  rtrSolicitMaxInterval: 43,
  seg6Enabled: 44,
  seg6RequireHmac: 45,
  enhancedDad: 46,
  addrGenMode: 47,
  disablePolicy: 48,
  acceptRaRtInfoMinPlen: 49,
  ndiscTclass: 50,
  rplSegEnabled: 51,
  raDefrtrMetric: 52,
  ioam6Enabled: 53,
  ioam6Id: 54,
  ioam6IdWide: 55,
  ndiscEvictNocarrier: 56,
  acceptUntrackedNa: 57,
  acceptRaMinLft: 58,
} as const

type Settings<N> = { -readonly [K in keyof N]?: number | undefined }

/** An array of s32 that grows with the kernel: what it has and we know is read, the rest left out. */
const readArray = <N extends Readonly<Record<string, number>>>(
  names: N,
  first: number,
): Codec<Settings<N>> => {
  const places = Object.entries(names).map(([name, number]) => ({ name, at: (number - first) * 4 }))
  const end = Math.max(...places.map(({ at }) => at)) + 4
  return {
    write() {
      throw new RangeError('these settings can only be read; write them as sysctls')
    },
    read(payload) {
      // All names at once: one by one it takes V8 several times as long.
      const settings: Record<string, number> = payload.length >= end ? { ...names } : {}
      for (const { name, at } of places) if (at + 4 <= payload.length) settings[name] = payload.s32(at)
      return settings as Settings<N>
    },
  }
}

/**
 * IFLA_INET_CONF goes out as attributes, one a setting, and comes back as an array: two layouts of one attribute.
 */
const inetConf: Codec<Settings<typeof ipv4Conf>> = {
  nested: true,
  write(writer, value) {
    for (const name in value) {
      const setting = value[name as keyof typeof ipv4Conf]
      const type = Object.hasOwn(ipv4Conf, name) ? ipv4Conf[name as keyof typeof ipv4Conf] : undefined
      if (type === undefined) throw new RangeError(`no IPv4 setting is called ${JSON.stringify(name)}`)
      if (setting === undefined) continue
      const start = writer.open(name)
      const offset = writer.reserve(4)
      writer.view.setInt32(offset, setting, littleEndian)
      writer.close(start, type, name)
    }
  },
  read: readArray(ipv4Conf, 1).read,
}

/** `IFLA_INET_*`. */
export const inet = table({ conf: [1, inetConf] })

/** `IN6_ADDR_GEN_MODE_*`. */
export const addrGenModes = { eui64: 0, none: 1, stablePrivacy: 2, random: 3 } as const

/** `IFLA_INET6_*`. Writable are `addrGenMode` and `token`. */
export const inet6 = table({
  flags: [1, u32],
  conf: [2, readArray(ipv6Conf, 0)],
  stats: [3, bytes],
  mcast: [4, bytes],
  cacheinfo: [5, packed({ maxReasmLen: 'u32', tstamp: 'u32', reachableTime: 'u32', retransTime: 'u32' })],
  icmp6stats: [6, bytes],
  token: [7, ip],
  addrGenMode: [8, choice(u8, addrGenModes)],
  raMtu: [9, u32],
})

/** IFLA_AF_SPEC of AF_UNSPEC messages: one nest a family, by its AF_* number. */
export const afSpec = table({ inet: [2, inet], inet6: [10, inet6] })

const only = { only: true } as const
const { acceptRa } = ipv6Conf
/** The same, and of all of it only whether router advertisements are heeded. */
export const briefAfSpec = table(
  { inet6: [10, table({ conf: [2, readArray({ acceptRa }, 0)] }, only)] },
  only,
)
