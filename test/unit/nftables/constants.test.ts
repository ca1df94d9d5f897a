/** Every number in the tables against the system's own headers, by a small C program. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Rows, Table } from '../../../netlink/codec/table.ts'
import {
  batchLayout,
  chainLayout,
  ELEMENT_F,
  element,
  elementListLayout,
  generationLayout,
  nfgenmsg,
  objectLayout,
  ruleLayout,
  SET_F,
  setLayout,
  TABLE_F,
  tableLayout,
} from '../../../netlink/nftables/attributes.ts'
import {
  families,
  hookNumber,
  NFNL_MSG_BATCH_BEGIN,
  NFNL_MSG_BATCH_END,
  NFNL_SUBSYS_NFTABLES,
  NFT_MSG,
  registerAt,
  verdicts,
} from '../../../netlink/nftables/constants.ts'
import { ctStates, ctStatuses, dataTypes, protocols, tcpFlags } from '../../../netlink/nftables/datatypes.ts'
import * as expressions from '../../../netlink/nftables/expressions.ts'

const upper = (name: string) =>
  name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('-', '_')
    .toUpperCase()

type Special = Readonly<Record<string, string>>
const names = (prefix: string, numbers: Readonly<Record<string, number>>, special: Special = {}) =>
  Object.entries(numbers).map(([name, number]): [string, number] => [
    prefix + (special[name] ?? upper(name)),
    number >>> 0,
  ])
const rows = (prefix: string, { rows: all }: { rows: Rows }, special: Special = {}) =>
  names(prefix, Object.fromEntries(Object.entries(all).map(([name, [number]]) => [name, number])), special)
const expression = (
  kind: keyof typeof expressions.expressionKinds,
  special: Special = {},
  prefix = upper(kind),
) => rows(`NFTA_${prefix}_`, expressions.expressionKinds[kind] as unknown as Table<Rows>, special)
const name = { table: 'NAME', chain: 'NAME', set: 'NAME' }
const ports = { protoMin: 'REG_PROTO_MIN', protoMax: 'REG_PROTO_MAX' }

const constants: [string, number][] = [
  ...Object.entries(NFT_MSG).map(([key, number]): [string, number] => [
    `(NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_${key.toUpperCase()}`,
    number,
  ]),
  ['NFNL_SUBSYS_NFTABLES', NFNL_SUBSYS_NFTABLES],
  ['NFNL_MSG_BATCH_BEGIN', NFNL_MSG_BATCH_BEGIN],
  ['NFNL_MSG_BATCH_END', NFNL_MSG_BATCH_END],
  ['sizeof(struct nfgenmsg)', nfgenmsg.size],
  ...names('NFPROTO_', families, { ip: 'IPV4', ip6: 'IPV6' }),
  ['NF_INET_PRE_ROUTING', hookNumber('inet', 'prerouting')],
  ['NF_INET_LOCAL_IN', hookNumber('inet', 'input')],
  ['NF_INET_FORWARD', hookNumber('bridge', 'forward')],
  ['NF_INET_LOCAL_OUT', hookNumber('ip', 'output')],
  ['NF_INET_POST_ROUTING', hookNumber('ip6', 'postrouting')],
  ['NF_INET_INGRESS', hookNumber('inet', 'ingress')],
  ['NF_ARP_IN', hookNumber('arp', 'input')],
  ['NF_ARP_OUT', hookNumber('arp', 'output')],
  ['NF_NETDEV_INGRESS', hookNumber('netdev', 'ingress')],
  ['NF_NETDEV_EGRESS', hookNumber('netdev', 'egress')],
  ...names('', verdicts, {
    drop: 'NF_DROP',
    accept: 'NF_ACCEPT',
    continue: 'NFT_CONTINUE',
    break: 'NFT_BREAK',
    jump: 'NFT_JUMP',
    goto: 'NFT_GOTO',
    return: 'NFT_RETURN',
  }),
  ...[0, 4, 8, 12].map((words, i): [string, number] => [`NFT_REG_${i + 1}`, registerAt(words)]),
  ...[1, 2, 15].map((words): [string, number] => [
    `NFT_REG32_${String(words).padStart(2, '0')}`,
    registerAt(words),
  ]),

  ...rows('NFTA_TABLE_', tableLayout.attributes, name),
  ...names('NFT_TABLE_F_', TABLE_F),
  ...rows('NFTA_CHAIN_', chainLayout.attributes, { table: 'TABLE', chain: 'NAME' }),
  ...rows('NFTA_RULE_', ruleLayout.attributes),
  ...rows('NFTA_SET_', setLayout.attributes, { set: 'NAME', description: 'DESC' }),
  ...names('NFT_SET_', SET_F, { dynamic: 'EVAL' }),
  ...rows('NFTA_SET_ELEM_', element),
  ...names('NFT_SET_ELEM_', ELEMENT_F),
  ...rows('NFTA_SET_ELEM_LIST_', elementListLayout.attributes),
  ...rows('NFTA_OBJ_', objectLayout.attributes),
  ...rows('NFTA_GEN_', generationLayout.attributes, { processId: 'PROC_PID', processName: 'PROC_NAME' }),
  ...rows('NFNL_BATCH_', batchLayout.attributes, { generation: 'GENID' }),
  ...rows('NFTA_DATA_', expressions.data),

  ...expression('bitwise'),
  ...expression('byteorder'),
  ...expression('cmp'),
  ...expression('counter'),
  ...expression('ct'),
  ...expression('fib'),
  ...expression('immediate'),
  ...expression('limit'),
  ...expression('log'),
  ...expression('lookup'),
  ...expression('masq', ports),
  ...expression('meta'),
  ...expression('nat', { ...ports, addrMin: 'REG_ADDR_MIN', addrMax: 'REG_ADDR_MAX' }),
  ...expression('objref', { type: 'IMM_TYPE', name: 'IMM_NAME', sreg: 'SET_SREG', set: 'SET_NAME' }),
  ...expression('payload'),
  ...expression('quota'),
  ...expression('range', { from: 'FROM_DATA', to: 'TO_DATA' }),
  ...expression('redir', { protoMin: 'REG_PROTO_MIN', protoMax: 'REG_PROTO_MAX' }),
  ...expression('reject', { code: 'ICMP_CODE' }),
  ...expression('rt'),

  ...names('NFT_PAYLOAD_', expressions.payloadBases, {
    link: 'LL_HEADER',
    network: 'NETWORK_HEADER',
    transport: 'TRANSPORT_HEADER',
    inner: 'INNER_HEADER',
  }),
  ...names('NFT_CMP_', expressions.cmpOps),
  ...names('NFT_RANGE_', expressions.rangeOps),
  ...names('NFT_BITWISE_', expressions.bitwiseOps),
  ...names('NFT_BYTEORDER_', expressions.byteorderOps),
  ...names('NFT_META_', expressions.metaKeys, {
    ibrname: 'BRI_IIFNAME',
    obrname: 'BRI_OIFNAME',
    ibrpvid: 'BRI_IIFPVID',
    ibrvproto: 'BRI_IIFVPROTO',
  }),
  ...names('NFT_CT_', expressions.ctKeys, {
    l3proto: 'L3PROTOCOL',
    packets: 'PKTS',
  }),
  ...names('NFT_NAT_', expressions.natTypes),
  ...names('NF_NAT_RANGE_', expressions.NAT_RANGE),
  ...names('NFTA_FIB_F_', expressions.FIB_F),
  ...names('NFT_FIB_RESULT_', expressions.fibResults, { type: 'ADDRTYPE' }),
  ...names('NFT_LOGLEVEL_', expressions.logLevels, { warn: 'WARNING' }),
  ...names('NFT_LIMIT_', expressions.limitTypes, { packets: 'PKTS', bytes: 'PKT_BYTES' }),
  ...names('NFT_REJECT_', expressions.rejectTypes, {
    icmp: 'ICMP_UNREACH',
    tcpReset: 'TCP_RST',
    icmpx: 'ICMPX_UNREACH',
  }),
  ...names('NFT_RT_', expressions.rtKeys),

  ...names('IPPROTO_', protocols, { 'ipv6-icmp': 'ICMPV6' }),
  ...names('', ctStates, {
    invalid: 'NF_CT_STATE_INVALID_BIT',
    established: 'NF_CT_STATE_BIT(IP_CT_ESTABLISHED)',
    related: 'NF_CT_STATE_BIT(IP_CT_RELATED)',
    new: 'NF_CT_STATE_BIT(IP_CT_NEW)',
    untracked: 'NF_CT_STATE_UNTRACKED_BIT',
  }),
  ...names('IPS_', ctStatuses, { snat: 'SRC_NAT', dnat: 'DST_NAT' }),
  ...names('TH_', tcpFlags, { psh: 'PUSH', ecn: 'ECE' }).filter(([flag]) => !/ECE|CWR/.test(flag)),
  ...(['ip', 'arp', 'ip6', 'vlan'] as const).map((word): [string, number] => [
    { ip: 'ETH_P_IP', arp: 'ETH_P_ARP', ip6: 'ETH_P_IPV6', vlan: 'ETH_P_8021Q' }[word],
    Buffer.from(dataTypes.ether_type.encode(word)).readUInt16BE(),
  ]),
  ...(
    ['unicast', 'local', 'broadcast', 'anycast', 'multicast', 'blackhole', 'unreachable', 'prohibit'] as const
  ).map((word): [string, number] => [
    `RTN_${word.toUpperCase()}`,
    new Uint32Array(dataTypes.fib_addrtype.encode(word).slice().buffer)[0]!,
  ]),
]

const headers = [
  'stdio.h',
  'netinet/in.h',
  'netinet/tcp.h',
  'linux/if_ether.h',
  'linux/netfilter.h',
  'linux/netfilter_arp.h',
  'linux/netfilter/nfnetlink.h',
  'linux/netfilter/nf_tables.h',
  'linux/netfilter/nf_conntrack_common.h',
  'linux/netfilter/nf_nat.h',
  'linux/rtnetlink.h',
]

test('the numbers are those of the headers', () => {
  const directory = mkdtempSync(join(tmpdir(), 'nf-constants-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const program = [
    ...headers.map((header) => `#include <${header}>`),
    'int main(void) {',
    ...constants.map(([constant], i) => `printf("${i} %u\\n", (unsigned)(${constant}));`),
    '}',
  ].join('\n')
  writeFileSync(join(directory, 'constants.c'), program)
  execFileSync('gcc', ['-o', join(directory, 'constants'), join(directory, 'constants.c')], {
    encoding: 'utf8',
  })
  const output = execFileSync(join(directory, 'constants'), { encoding: 'utf8' })
  const values = output
    .trim()
    .split('\n')
    .map((line) => Number(line.split(' ')[1]))
  const wrong = constants.flatMap(([constant, number], i) =>
    values[i] === number ? [] : [`${constant} is ${values[i]}, not ${number}`],
  )
  expect(wrong).toEqual([])
  expect(values).toHaveLength(constants.length)
})
