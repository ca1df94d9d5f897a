/**
 * Every number in the tables against the system's own headers, by a small C program. Headers older than a number do not
 * have its name; those are listed, so that a misspelt name is not taken for a new one.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { addressFlags, addressLayout, scopes } from '../../../netlink/address.ts'
import type { Rows, Table } from '../../../netlink/codec/table.ts'
import { errnoName } from '../../../netlink/error.ts'
import { addrGenModes, inet, inet6, ipv4Conf, ipv6Conf } from '../../../netlink/link/af-spec.ts'
import { ifinfomsg, RTEXT_FILTER, xdp } from '../../../netlink/link/attributes.ts'
import { bondModes } from '../../../netlink/link/bond.ts'
import { boolOpts } from '../../../netlink/link/bridge.ts'
import { bridgeAfSpec, bridgeFlags, vlanInfoFlags } from '../../../netlink/link/bridge-message.ts'
import { portStates } from '../../../netlink/link/bridge-port.ts'
import { IFF, linkModes, linkTypes, operStates } from '../../../netlink/link/flags.ts'
import { ipvlanFlags, ipvlanModes } from '../../../netlink/link/ipvlan.ts'
import { kinds, portKinds } from '../../../netlink/link/kinds.ts'
import { linkTable } from '../../../netlink/link/layout.ts'
import { macvlanFlags, macvlanModes } from '../../../netlink/link/macvlan.ts'
import { statisticNames } from '../../../netlink/link/statistics.ts'
import { tunTypes } from '../../../netlink/link/tun.ts'
import { vlanFlags } from '../../../netlink/link/vlan.ts'
import { neighbourFlags, neighbourLayout, neighbourStates } from '../../../netlink/neighbour.ts'
import { nsidLayout } from '../../../netlink/nsid.ts'
import { features, metrics, preferences, routeTable, rtmsg } from '../../../netlink/route/layout.ts'
import {
  nexthopFlags,
  routeFlags,
  routeProtocols,
  routeTables,
  routeTypes,
} from '../../../netlink/route/names.ts'
import { ruleActions, ruleLayout } from '../../../netlink/rule.ts'

/** Since when the names are there that Debian 12's headers lack. They are checked wherever they are known. */
const newer = {
  'Linux 6.2': ['IFLA_BRPORT_MAB'],
  'Linux 6.3': [
    'IFLA_BRPORT_MCAST_N_GROUPS',
    'IFLA_BRPORT_MCAST_MAX_GROUPS',
    'IFLA_DEVLINK_PORT',
    'IFLA_GSO_IPV4_MAX_SIZE',
    'IFLA_GRO_IPV4_MAX_SIZE',
  ],
  'Linux 6.4': ['IFLA_BRPORT_NEIGH_VLAN_SUPPRESS', 'IFLA_MACVLAN_BC_CUTOFF'],
  'Linux 6.6': ['IFLA_BRPORT_BACKUP_NHID'],
  'Linux 6.7': ['IFLA_BR_FDB_N_LEARNED', 'IFLA_BR_FDB_MAX_LEARNED', 'IFLA_DPLL_PIN'],
  'Linux 6.9 and later': [
    'BR_BOOLOPT_MDB_OFFLOAD_FAIL_NOTIFICATION',
    'BR_BOOLOPT_FDB_LOCAL_VLAN_0',
    'IFLA_MAX_PACING_OFFLOAD_HORIZON',
    'IFLA_NETNS_IMMUTABLE',
    'IFLA_HEADROOM',
    'IFLA_TAILROOM',
    'FRA_DSCP',
    'FRA_FLOWLABEL',
    'FRA_FLOWLABEL_MASK',
    'FRA_SPORT_MASK',
    'FRA_DPORT_MASK',
    'FRA_DSCP_MASK',
    'RTAX_FEATURE_TCP_USEC_TS',
  ],
}

const upper = (name: string) =>
  name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toUpperCase()

const names = (
  prefix: string,
  numbers: Readonly<Record<string, number>>,
  special: Record<string, string> = {},
) =>
  Object.entries(numbers).map(([name, number]): [string, number] => [
    prefix + (special[name] ?? upper(name)),
    number,
  ])

const rows = (prefix: string, { rows: all }: { rows: Rows }, special: Record<string, string> = {}) =>
  names(prefix, Object.fromEntries(Object.entries(all).map(([name, [number]]) => [name, number])), special)

const kind = (name: keyof typeof kinds, special?: Record<string, string>) =>
  rows(`IFLA_${upper(name)}_`, kinds[name] as unknown as Table<Rows>, special)

const constants: [string, number][] = [
  ...rows('IFLA_', linkTable as unknown as Table<Rows>),
  ...rows('IFLA_XDP_', xdp),
  ...rows('IFLA_INET_', inet as unknown as Table<Rows>),
  ...rows('IFLA_INET6_', inet6 as unknown as Table<Rows>),
  ...names('IPV4_DEVCONF_', ipv4Conf, {
    igmpv2UnsolicitedReportInterval: 'IGMPV2_UNSOLICITED_REPORT_INTERVAL',
    dropUnicastInL2Multicast: 'DROP_UNICAST_IN_L2_MULTICAST',
  }),
  ...names('DEVCONF_', ipv6Conf),
  ...names('IN6_ADDR_GEN_MODE_', addrGenModes),
  ...kind('bond', { nsIp6Target: 'NS_IP6_TARGET' }),
  ...rows('IFLA_BR_', kinds.bridge as unknown as Table<Rows>, { fdbNLearned: 'FDB_N_LEARNED' }),
  ...rows('IFLA_BRPORT_', portKinds.bridge as unknown as Table<Rows>, {
    hairpin: 'MODE',
    mcastNGroups: 'MCAST_N_GROUPS',
  }),
  ...rows('IFLA_BOND_SLAVE_', portKinds.bond as unknown as Table<Rows>),
  ...rows('IFLA_VRF_PORT_', portKinds.vrf as unknown as Table<Rows>),
  ...kind('ipvlan'),
  ...kind('macvlan'),
  ...kind('tun'),
  ...kind('vlan'),
  ...kind('vrf'),
  ...kind('vxlan'),
  ...rows('VETH_INFO_', kinds.veth as unknown as Table<Rows>),
  ...rows('IFLA_BRIDGE_', bridgeAfSpec as unknown as Table<Rows>),
  ...names('BRIDGE_FLAGS_', bridgeFlags),
  ...names('BRIDGE_VLAN_INFO_', vlanInfoFlags),
  ...names('BR_STATE_', portStates),
  ...names('1<<BR_BOOLOPT_', boolOpts, { fdbLocalVlan0: 'FDB_LOCAL_VLAN_0' }),
  ...names('MACVLAN_MODE_', macvlanModes),
  ...names('MACVLAN_FLAG_', macvlanFlags),
  ...names('IPVLAN_MODE_', ipvlanModes),
  ...names('IPVLAN_F_', ipvlanFlags),
  ...names('VLAN_FLAG_', vlanFlags),
  ...names('IFF_', tunTypes),
  ...names('BOND_MODE_', bondModes, {
    'balance-rr': 'ROUNDROBIN',
    'active-backup': 'ACTIVEBACKUP',
    'balance-xor': 'XOR',
    '802.3ad': '8023AD',
    'balance-tlb': 'TLB',
    'balance-alb': 'ALB',
  }),
  ...names('IFF_', IFF, {
    pointToPoint: 'POINTOPOINT',
    noTrailers: 'NOTRAILERS',
    noArp: 'NOARP',
    allMulti: 'ALLMULTI',
    portSel: 'PORTSEL',
    autoMedia: 'AUTOMEDIA',
  }),
  ...names('IF_OPER_', operStates),
  ...names('IF_LINK_MODE_', linkModes),
  ...names('ARPHRD_', linkTypes, { ipip: 'TUNNEL', gre: 'IPGRE' }),
  ...names('RTEXT_FILTER_', RTEXT_FILTER),
  ...rows('IFA_', addressLayout.attributes as unknown as Table<Rows>),
  ...names('IFA_F_', addressFlags),
  ...names('RT_SCOPE_', scopes, { global: 'UNIVERSE' }),
  ...rows('RTA_', routeTable as unknown as Table<Rows>),
  ...rows('RTAX_', metrics as unknown as Table<Rows>),
  ...names('RTAX_FEATURE_', features),
  ...names('RTN_', routeTypes),
  ...names('RTPROT_', routeProtocols),
  ...names('RT_TABLE_', routeTables),
  ...names('RTNH_F_', nexthopFlags),
  ...names('RTM_F_', Object.fromEntries(Object.entries(routeFlags).slice(Object.keys(nexthopFlags).length)), {
    offloaded: 'OFFLOAD',
    trapped: 'TRAP',
  }),
  ...names('ICMPV6_ROUTER_PREF_', preferences),
  ...rows('FRA_', ruleLayout.attributes as unknown as Table<Rows>),
  ...names('FR_ACT_', ruleActions, { table: 'TO_TBL' }),
  ...rows('NDA_', neighbourLayout.attributes as unknown as Table<Rows>),
  ...names('NUD_', neighbourStates),
  ...names('NTF_', neighbourFlags),
  ...rows('NETNSA_', nsidLayout.attributes as unknown as Table<Rows>),
]

const sizes: [string, number][] = [
  ['struct ifinfomsg', ifinfomsg.size],
  ['struct ifaddrmsg', addressLayout.header.size],
  ['struct rtmsg', rtmsg.size],
  ['struct fib_rule_hdr', ruleLayout.header.size],
  ['struct ndmsg', neighbourLayout.header.size],
]

const snake = (name: string) => upper(name).toLowerCase()

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'constants-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const headers = [
  'stddef.h',
  'stdio.h',
  'sys/socket.h',
  'linux/if.h',
  'linux/if_addr.h',
  'linux/if_arp.h',
  'linux/if_bonding.h',
  'linux/if_bridge.h',
  'linux/if_link.h',
  'linux/if_tun.h',
  'linux/if_vlan.h',
  'linux/icmpv6.h',
  'linux/fib_rules.h',
  'linux/ip.h',
  'linux/ipv6.h',
  'linux/neighbour.h',
  'linux/net_namespace.h',
  'linux/rtnetlink.h',
  'linux/veth.h',
]

/** Values of C expressions; those that do not compile are left out. */
const evaluate = (expressions: readonly string[]): Map<string, number> => {
  const source = join(directory, 'constants.c')
  const program = (list: readonly string[]) =>
    [
      ...headers.map((header) => `#include <${header}>`),
      'int main(void) {',
      ...list.map((expression, i) => `printf("${i} %lld\\n", (long long)(${expression}));`),
      '}',
    ].join('\n')
  const attempt = (list: readonly string[]) => {
    writeFileSync(source, program(list))
    return spawnSync('gcc', ['-fmax-errors=0', '-o', join(directory, 'constants'), source], {
      encoding: 'utf8',
    })
  }
  let known = [...expressions]
  let result = attempt(known)
  if (result.error) throw result.error
  if (result.status !== 0) {
    const offset = headers.length + 2
    const bad = new Set(
      [...result.stderr.matchAll(/constants\.c:(\d+):\d+: error:/g)].map(([, line]) => Number(line) - offset),
    )
    known = known.filter((_, i) => !bad.has(i))
    result = attempt(known)
    if (result.status !== 0) throw new Error(result.stderr)
  }
  const output = execFileSync(join(directory, 'constants'), { encoding: 'utf8' })
  const values = new Map<string, number>()
  for (const line of output.trim().split('\n')) {
    const [index, value] = line.split(' ').map(Number)
    values.set(known[index!]!, value!)
  }
  return values
}

it('the numbers are those of the headers', () => {
  const values = evaluate(constants.map(([name]) => name))
  const recent: readonly string[] = Object.values(newer).flat()
  const missing = constants.map(([name]) => name).filter((name) => !values.has(name))
  expect(missing.map((name) => name.replace('1<<', '')).filter((name) => !recent.includes(name))).toEqual([])
  const wrong = constants.filter(([name, number]) => values.has(name) && values.get(name)! !== number)
  expect(wrong.map(([name, number]) => `${name} is ${values.get(name)}, not ${number}`)).toEqual([])
  expect(values.size).toBeGreaterThan(400)
})

it('the structs have their sizes, the statistics their order', () => {
  const fields = statisticNames.map((name, i): [string, number] => [
    `offsetof(struct rtnl_link_stats64, ${snake(name)})`,
    i * 8,
  ])
  const expressions: [string, number][] = [
    ...sizes.map(([name, size]): [string, number] => [`sizeof(${name})`, size]),
    ...fields,
  ]
  const values = evaluate(expressions.map(([expression]) => expression))
  expect(Object.fromEntries(values)).toEqual(Object.fromEntries(expressions))
})

it('the names of errors are those of the headers', () => {
  // What rtnetlink answers with, as far as it is known.
  const errnos =
    'EPERM ENOENT ESRCH EINTR EAGAIN ENOMEM EACCES EBUSY EEXIST ENODEV EINVAL ENFILE ERANGE EOPNOTSUPP EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENOBUFS EISCONN ENOTCONN EHOSTUNREACH EMSGSIZE'
  const values = evaluate(['1'])
  expect(values.get('1')).toBe(1)
  const program = join(directory, 'errno.c')
  const list = errnos.split(' ')
  writeFileSync(
    program,
    `#include <errno.h>\n#include <stdio.h>\nint main(void) {${list.map((name) => `printf("%d ", ${name});`).join('')}}`,
  )
  execFileSync('gcc', ['-o', join(directory, 'errno'), program])
  const numbers = execFileSync(join(directory, 'errno'), { encoding: 'utf8' }).trim().split(' ').map(Number)
  expect(numbers.map(errnoName)).toEqual(list)
})
