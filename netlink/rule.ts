/** Policy routing rules: which table is asked for which packets. */
import { type Attributes, struct, table, type UnknownAttribute } from './codec/table.ts'
import { be32, be64, ip, string, u8, u16, u32 } from './codec/types.ts'
import { type Choice, chooser, packed } from './codec/values.ts'
import { type Family, fromAf, toAf, toPrefix } from './family.ts'
import { checkName } from './link/name.ts'
import { change, dump, NLM_F, type Request } from './request.ts'
import { protocol, type routeProtocols, type routeTables, tableId } from './route/names.ts'

const RTM_NEWRULE = 32
const RTM_DELRULE = 33
const RTM_GETRULE = 34
const FIB_RULE_INVERT = 2

/** `FR_ACT_*`, linux/fib_rules.h. */
export const ruleActions = {
  unspec: 0,
  /** Ask `table`. */
  table: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const
const action = chooser(ruleActions)

/** `struct fib_rule_hdr` and `FRA_*`, linux/fib_rules.h. */
export const ruleLayout = {
  header: struct({
    family: 'u8',
    dstLength: 'u8',
    srcLength: 'u8',
    tos: 'u8',
    table: 'u8',
    pad: [2],
    action: 'u8',
    flags: 'u32',
  }),
  attributes: table({
    dst: [1, ip],
    src: [2, ip],
    iifname: [3, string],
    goto: [4, u32],
    priority: [6, u32],
    fwmark: [10, u32],
    flow: [11, u32],
    tunId: [12, be64],
    suppressIfgroup: [13, u32],
    suppressPrefixlen: [14, u32],
    table: [15, u32],
    fwmask: [16, u32],
    oifname: [17, string],
    l3mdev: [19, u8],
    uidRange: [20, packed({ start: 'u32', end: 'u32' })],
    protocol: [21, u8],
    ipProto: [22, u8],
    sportRange: [23, packed({ start: 'u16', end: 'u16' })],
    dportRange: [24, packed({ start: 'u16', end: 'u16' })],
    dscp: [25, u8],
    flowlabel: [26, be32],
    flowlabelMask: [27, be32],
    sportMask: [28, u16],
    dportMask: [29, u16],
    dscpMask: [30, u8],
  }),
} as const

/** Both ends included. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** The conditions of a rule; all must hold. */
export interface RuleConditions {
  /** Prefix of the source. */
  readonly from?: string | undefined
  /** Prefix of the destination. */
  readonly to?: string | undefined
  /** Name of the interface the packet came in by; `lo`: it comes from the host itself. */
  readonly inputName?: string | undefined
  readonly outputName?: string | undefined
  readonly mark?: number | undefined
  /** Which bits of the mark count. Default: all. */
  readonly mask?: number | undefined
  readonly tos?: number | undefined
  readonly tunnelId?: bigint | undefined
  readonly uids?: Range | undefined
  /** IPPROTO_*, e.g. 6. */
  readonly ipProtocol?: number | undefined
  readonly sourcePorts?: Range | undefined
  readonly destinationPorts?: Range | undefined
  /** Takes the packets for which the conditions do not hold. */
  readonly invert?: boolean | undefined
}

/** A rule. */
export interface Rule extends RuleConditions {
  readonly family: Family
  /** Rules are asked in the order of their priorities, smaller ones first. */
  readonly priority: number
  readonly action: Choice<typeof ruleActions>
  /** 0 where the action is another, or the table is the interface's (`l3mdev`). */
  readonly table: number
  /** Priority of the rule to go on with. */
  readonly goto: number | undefined
  /** Ask the table of the VRF of the interface. */
  readonly l3mdev: boolean
  /** Does not take routes whose prefix is this long or shorter. */
  readonly suppressPrefixLength: number | undefined
  readonly suppressGroup: number | undefined
  readonly protocol: Choice<typeof routeProtocols> | undefined
  readonly unknown: readonly UnknownAttribute[]
}

/** A rule to be made or deleted. */
export interface RuleOptions extends RuleConditions {
  /** Needed where neither `from` nor `to` is given; default then: IPv4. */
  readonly family?: Family | undefined
  /** Default: one before the first rule besides 0. */
  readonly priority?: number | undefined
  /** Default: table. */
  readonly action?: Choice<typeof ruleActions> | undefined
  /** Default: main. */
  readonly table?: Choice<typeof routeTables> | undefined
  readonly goto?: number | undefined
  readonly l3mdev?: boolean | undefined
  readonly suppressPrefixLength?: number | undefined
  readonly suppressGroup?: number | undefined
  readonly protocol?: Choice<typeof routeProtocols> | undefined
}

const NONE = 0xffff_ffff

/** Makes a {@link Rule} of a message; undefined where the family is neither IPv4 nor IPv6. */
export const toRule = (
  header: {
    family: number
    dstLength: number
    srcLength: number
    tos: number
    table: number
    action: number
    flags: number
  },
  attributes: Attributes<(typeof ruleLayout)['attributes']['rows']>,
): Rule | undefined => {
  const family = fromAf(header.family)
  if (family === undefined) return undefined
  const unlessNone = (value: number | undefined) => (value === NONE ? undefined : value)
  return {
    family,
    priority: attributes.priority ?? 0,
    from: attributes.src === undefined ? undefined : `${attributes.src}/${header.srcLength}`,
    to: attributes.dst === undefined ? undefined : `${attributes.dst}/${header.dstLength}`,
    inputName: attributes.iifname,
    outputName: attributes.oifname,
    mark: attributes.fwmark,
    mask: attributes.fwmask,
    tos: header.tos,
    tunnelId: attributes.tunId,
    uids: attributes.uidRange,
    ipProtocol: attributes.ipProto,
    sourcePorts: attributes.sportRange,
    destinationPorts: attributes.dportRange,
    invert: (header.flags & FIB_RULE_INVERT) !== 0,
    action: action.fromNumber(header.action),
    table: attributes.table ?? header.table,
    goto: attributes.goto,
    l3mdev: attributes.l3mdev === 1,
    suppressPrefixLength: unlessNone(attributes.suppressPrefixlen),
    suppressGroup: unlessNone(attributes.suppressIfgroup),
    protocol: attributes.protocol === undefined ? undefined : protocol.fromNumber(attributes.protocol),
    unknown: attributes.unknown ?? [],
  }
}

const describe = (options: RuleOptions): string =>
  [
    options.priority === undefined ? '' : ` ${options.priority}`,
    options.from === undefined ? '' : ` from ${options.from}`,
    options.to === undefined ? '' : ` to ${options.to}`,
    options.table === undefined ? '' : ` table ${options.table}`,
  ].join('')

const ruleRequest = (verb: 'add' | 'delete', options: RuleOptions): Request<void> => {
  const from = options.from === undefined ? undefined : toPrefix(options.from)
  const to = options.to === undefined ? undefined : toPrefix(options.to)
  if (from && to && from.family !== to.family)
    throw new RangeError(`a rule can't be from ${options.from} to ${options.to}: two families`)
  const adding = verb === 'add'
  // The rule's action follows from what it says, as in `ip rule`; for a deletion what is left out is any.
  const implied = options.goto !== undefined ? 'goto' : adding ? 'table' : 'unspec'
  const act = action.toNumber(options.action ?? implied)
  const needsTable = adding && act === ruleActions.table && !options.l3mdev
  const id = options.table === undefined ? (needsTable ? 254 : 0) : tableId.toNumber(options.table)
  return change(ruleLayout, {
    op: `${verb} rule${describe(options)}`,
    type: adding ? RTM_NEWRULE : RTM_DELRULE,
    flags: adding ? NLM_F.create | NLM_F.excl : 0,
    header: {
      family: toAf(from?.family ?? to?.family ?? options.family ?? 4),
      dstLength: to?.length,
      srcLength: from?.length,
      tos: options.tos,
      table: id < 256 ? id : 0,
      action: act,
      flags: options.invert ? FIB_RULE_INVERT : 0,
    },
    attributes: {
      src: from?.address,
      dst: to?.address,
      iifname: options.inputName === undefined ? undefined : checkName(options.inputName),
      oifname: options.outputName === undefined ? undefined : checkName(options.outputName),
      goto: options.goto,
      priority: options.priority,
      fwmark: options.mark,
      fwmask: options.mask,
      tunId: options.tunnelId,
      suppressIfgroup: options.suppressGroup,
      suppressPrefixlen: options.suppressPrefixLength,
      table: id < 256 ? undefined : id,
      l3mdev: options.l3mdev ? 1 : undefined,
      uidRange: options.uids,
      protocol: options.protocol === undefined ? undefined : protocol.toNumber(options.protocol),
      ipProto: options.ipProtocol,
      sportRange: options.sourcePorts,
      dportRange: options.destinationPorts,
    },
  })
}

/**
 * Makes a rule. Equivalent: `ip rule add [not] [from P] [to P] [iif N] [oif N] [fwmark M/MASK] [uidrange A-B]
 * [ipproto N] [sport A-B] [dport A-B] [priority N] [table T|goto N|l3mdev|blackhole|…] [suppress_prefixlength N]`.
 *
 * Errors: EEXIST (there is the same), EINVAL, EAFNOSUPPORT.
 * @throws RangeError for what is no prefix, or prefixes of two families
 */
export const add = (options: RuleOptions): Request<void> => ruleRequest('add', options)

/**
 * Deletes the first rule that has everything that is given. Equivalent: `ip rule del …`.
 *
 * Errors: ENOENT (there is none).
 * @throws RangeError as {@link add}
 */
const remove = (options: RuleOptions): Request<void> => ruleRequest('delete', options)

export { remove as delete }

/** All rules, or those of a family or a table. Equivalent: `ip [-4|-6] rule show [table T]`. */
export const list = (
  filter: {
    readonly family?: Family | undefined
    readonly table?: Choice<typeof routeTables> | undefined
  } = {},
): Request<Rule[]> => {
  const id = filter.table === undefined ? undefined : tableId.toNumber(filter.table)
  return dump(
    ruleLayout,
    { op: 'list rules', type: RTM_GETRULE, header: { family: toAf(filter.family) } },
    (message) => {
      const rule = toRule(message, message.attributes)
      return rule && (id === undefined || rule.table === id) ? rule : undefined
    },
  )
}
