/**
 * The expressions of nf_tables: what a rule is made of. One table each, in the order and with the words of
 * linux/netfilter/nf_tables.h. Expressions without a table keep their bytes (`raw`).
 */
import { list, type Selected, selected, table } from '../codec/table.ts'
import { be16, be32, be64, bytes, type Codec, string, u8, type Value } from '../codec/types.ts'
import { choice } from '../codec/values.ts'
import { family32, verdictCode } from './constants.ts'

/** A value or a verdict: `NFTA_DATA_*`. */
export const data = table({
  value: [1, bytes],
  verdict: [2, table({ code: [1, verdictCode], chain: [2, string], chainId: [3, be32] })],
})

/** Bits of `flags` for masq, nat and redir: NF_NAT_RANGE_*, linux/netfilter/nf_nat.h. */
export const NAT_RANGE = {
  mapIps: 0x1,
  /** nft sets it with every port. */
  protoSpecified: 0x2,
  protoRandom: 0x4,
  persistent: 0x8,
  protoRandomFully: 0x10,
  netmap: 0x40,
} as const

/** Where an offset counts from. */
export const payloadBases = { link: 0, network: 1, transport: 2, inner: 3 } as const
export const payload = table({
  dreg: [1, be32],
  base: [2, choice(be32, payloadBases)],
  offset: [3, be32],
  len: [4, be32],
  sreg: [5, be32],
  csumType: [6, be32],
  csumOffset: [7, be32],
  csumFlags: [8, be32],
})

export const cmpOps = { eq: 0, neq: 1, lt: 2, lte: 3, gt: 4, gte: 5 } as const
export const cmp = table({ sreg: [1, be32], op: [2, choice(be32, cmpOps)], data: [3, data] })

/** `enum nft_range_ops` */
export const rangeOps = { eq: 0, neq: 1 } as const
export const range = table({
  sreg: [1, be32],
  op: [2, choice(be32, rangeOps)],
  from: [3, data],
  to: [4, data],
})

/** `bool` is (value & mask) ^ xor. */
export const bitwiseOps = { bool: 0, lshift: 1, rshift: 2 } as const
export const bitwise = table({
  sreg: [1, be32],
  dreg: [2, be32],
  len: [3, be32],
  mask: [4, data],
  xor: [5, data],
  op: [6, choice(be32, bitwiseOps)],
  data: [7, data],
})

/** `enum nft_byteorder_ops` */
export const byteorderOps = { ntoh: 0, hton: 1 } as const
export const byteorder = table({
  sreg: [1, be32],
  dreg: [2, be32],
  op: [3, choice(be32, byteorderOps)],
  len: [4, be32],
  size: [5, be32],
})

export const immediate = table({ dreg: [1, be32], data: [2, data] })

export const metaKeys = {
  len: 0,
  protocol: 1,
  priority: 2,
  mark: 3,
  iif: 4,
  oif: 5,
  iifname: 6,
  oifname: 7,
  iiftype: 8,
  oiftype: 9,
  skuid: 10,
  skgid: 11,
  nftrace: 12,
  rtclassid: 13,
  secmark: 14,
  nfproto: 15,
  l4proto: 16,
  ibrname: 17,
  obrname: 18,
  pkttype: 19,
  cpu: 20,
  iifgroup: 21,
  oifgroup: 22,
  cgroup: 23,
  prandom: 24,
  secpath: 25,
  iifkind: 26,
  oifkind: 27,
  ibrpvid: 28,
  ibrvproto: 29,
  timeNs: 30,
  timeDay: 31,
  timeHour: 32,
  sdif: 33,
  sdifname: 34,
} as const
export type MetaKey = keyof typeof metaKeys
export const meta = table({ dreg: [1, be32], key: [2, choice(be32, metaKeys)], sreg: [3, be32] })

export const ctKeys = {
  state: 0,
  direction: 1,
  status: 2,
  mark: 3,
  secmark: 4,
  expiration: 5,
  helper: 6,
  l3proto: 7,
  src: 8,
  dst: 9,
  protocol: 10,
  protoSrc: 11,
  protoDst: 12,
  labels: 13,
  packets: 14,
  bytes: 15,
  avgpkt: 16,
  zone: 17,
  eventmask: 18,
  srcIp: 19,
  dstIp: 20,
  srcIp6: 21,
  dstIp6: 22,
  id: 23,
} as const
export type CtKey = keyof typeof ctKeys
export const ct = table({
  dreg: [1, be32],
  key: [2, choice(be32, ctKeys)],
  direction: [3, choice(u8, { original: 0, reply: 1 })],
  sreg: [4, be32],
})

/** NFT_LOOKUP_F_INV in `flags` inverts the match. */
export const lookup = table({
  set: [1, string],
  sreg: [2, be32],
  dreg: [3, be32],
  setId: [4, be32],
  flags: [5, be32],
})

/** `enum nft_nat_types` */
export const natTypes = { snat: 0, dnat: 1 } as const
export const nat = table({
  type: [1, choice(be32, natTypes)],
  family: [2, family32],
  addrMin: [3, be32],
  addrMax: [4, be32],
  protoMin: [5, be32],
  protoMax: [6, be32],
  flags: [7, be32],
})
export const masq = table({ flags: [1, be32], protoMin: [2, be32], protoMax: [3, be32] })
export const redir = table({ protoMin: [1, be32], protoMax: [2, be32], flags: [3, be32] })

/** Bits of `flags`: what is looked up. */
export const FIB_F = { saddr: 1, daddr: 2, mark: 4, iif: 8, oif: 16, present: 32 } as const
/** What a lookup gives. */
export const fibResults = { oif: 1, oifname: 2, type: 3 } as const
export const fib = table({
  dreg: [1, be32],
  result: [2, choice(be32, fibResults)],
  flags: [3, be32],
})

export const counter = table({ bytes: [1, be64], packets: [2, be64] })

export const logLevels = {
  emerg: 0,
  alert: 1,
  crit: 2,
  err: 3,
  warn: 4,
  notice: 5,
  info: 6,
  debug: 7,
  audit: 8,
} as const
export const log = table({
  group: [1, be16],
  prefix: [2, string],
  snaplen: [3, be32],
  qthreshold: [4, be16],
  level: [5, choice(be32, logLevels)],
  flags: [6, be32],
})

/** What a limit counts. */
export const limitTypes = { packets: 0, bytes: 1 } as const
/** `unit` is in seconds; NFT_LIMIT_F_INV in `flags` is nft's `over`. */
export const limit = table({
  rate: [1, be64],
  unit: [2, be64],
  burst: [3, be32],
  type: [4, choice(be32, limitTypes)],
  flags: [5, be32],
})

/** How a packet is refused; `icmpx` has codes that fit IPv4 and IPv6. */
export const rejectTypes = { icmp: 0, tcpReset: 1, icmpx: 2 } as const
export const reject = table({
  type: [1, choice(be32, rejectTypes)],
  code: [2, u8],
})

/** `enum nft_rt_keys` */
export const rtKeys = { classid: 0, nexthop4: 1, nexthop6: 2, tcpmss: 3, xfrm: 4 } as const
export const rt = table({
  dreg: [1, be32],
  key: [2, choice(be32, rtKeys)],
})
export const quota = table({ bytes: [1, be64], flags: [2, be32], consumed: [4, be64] })
export const objref = table({
  type: [1, be32],
  name: [2, string],
  sreg: [3, be32],
  set: [4, string],
  setId: [5, be32],
})
/** A match of xtables through nft_compat: its name, its revision, and its bytes as iptables lays them out. */
export const xtablesMatch = table({ name: [1, string], rev: [2, be32], info: [3, bytes] })
/** The same for a target. */
export const xtablesTarget = table({ name: [1, string], rev: [2, be32], info: [3, bytes] })
const empty = table({})

/** Every expression with a table, by the kernel's name for it (NFTA_EXPR_NAME). */
export const expressionKinds = {
  bitwise,
  byteorder,
  cmp,
  counter,
  ct,
  fib,
  immediate,
  limit,
  log,
  lookup,
  masq,
  match: xtablesMatch,
  meta,
  nat,
  notrack: empty,
  objref,
  payload,
  quota,
  range,
  redir,
  reject,
  rt,
  target: xtablesTarget,
} as const

/** One expression: `{kind: 'cmp', data: {sreg, op, data}}`. */
export type Expression = Selected<typeof expressionKinds>
export const expression: Codec<Expression> = selected(1, 2, expressionKinds)
export const expressionList = list(expression)

export type Data = Value<typeof data>
