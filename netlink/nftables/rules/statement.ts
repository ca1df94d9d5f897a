/** Statements that end a rule or act on a packet, but for address translation. The comments give the words for nft. */
import { REG_1, REG_VERDICT, type Verdict } from '../constants.ts'
import { dataTypes } from '../datatypes.ts'
import type { Expression, logLevels } from '../expressions.ts'
import { intervalsOf, type SetElement } from '../set-values.ts'
import type { Part, RuleContext } from './context.ts'
import { type Field, loadConcat } from './field.ts'

const verdict =
  (code: Verdict, chain?: string): Part =>
  (rule) =>
    rule.statement({
      kind: 'immediate',
      data: { dreg: REG_VERDICT, data: { verdict: { code, ...(chain !== undefined && { chain }) } } },
    })

/** `accept` */
export const accept = (): Part => verdict('accept')
/** `drop` */
export const drop = (): Part => verdict('drop')
/** `return`: back to the calling chain; in a base chain, its policy */
export const returns = (): Part => verdict('return')
/** `continue` */
export const continues = (): Part => verdict('continue')
/** `jump CHAIN`: comes back when the chain ends */
export const jump = (chain: string): Part => verdict('jump', chain)
/** `goto CHAIN`: does not come back */
export const goto = (chain: string): Part => verdict('goto', chain)

/** `counter`, or with numbers to start from `counter packets N bytes N` */
export const counter =
  ({ packets = 0n, bytes = 0n }: { packets?: bigint; bytes?: bigint } = {}): Part =>
  (rule) =>
    rule.statement({ kind: 'counter', data: { bytes, packets } })

/** `notrack`: no connection tracking; prerouting and output, before it starts (priority raw) */
export const notrack = (): Part => (rule) => rule.statement({ kind: 'notrack' })

/** `log [prefix "…"] [level …]`, or to a listener of nfnetlink_log with `group` */
export const log =
  (
    options: { prefix?: string; level?: keyof typeof logLevels; group?: number; snaplen?: number } = {},
  ): Part =>
  (rule) => {
    const { prefix, level, group, snaplen } = options
    if (group !== undefined && level !== undefined)
      throw new RangeError('log goes either to a group or to the kernel log with a level')
    rule.statement({
      kind: 'log',
      data: {
        ...(prefix !== undefined && { prefix }),
        ...(group !== undefined && { group }),
        ...(snaplen !== undefined && { snaplen }),
        ...(level !== undefined && { level }),
      },
    })
  }

const units = { second: 1n, minute: 60n, hour: 3600n, day: 86400n, week: 604800n } as const

/** `limit rate [over] N/UNIT [burst N packets]`, or in bytes with `type: 'bytes'` */
export const limit =
  (options: {
    rate: number
    per: keyof typeof units
    /** Default 5 packets, or no bytes. */
    burst?: number
    type?: 'packets' | 'bytes'
    /** Matches what exceeds the rate instead of what keeps it. */
    over?: boolean
  }): Part =>
  (rule) => {
    const { rate, per, type = 'packets', burst = type === 'packets' ? 5 : 0, over = false } = options
    rule.statement({
      kind: 'limit',
      data: { rate: BigInt(rate), unit: units[per], burst, type, flags: over ? 1 : 0 },
    })
  }

const icmpxCodes = {
  'no-route': 0,
  'port-unreachable': 1,
  'host-unreachable': 2,
  'admin-prohibited': 3,
} as const

/** `reject`, `reject with icmpx type WHY`, `reject with tcp reset` */
export const reject =
  (why: keyof typeof icmpxCodes | 'tcp-reset' = 'port-unreachable'): Part =>
  (rule) => {
    if (why === 'tcp-reset') {
      rule.needTransport(6)
      rule.statement({ kind: 'reject', data: { type: 'tcpReset', code: 0 } })
    } else if (rule.family === 'ip' || rule.family === 'ip6') {
      // These families have codes of their own: ICMP type 3 and ICMPv6 type 1.
      const codes =
        rule.family === 'ip'
          ? { 'no-route': 0, 'port-unreachable': 3, 'host-unreachable': 1, 'admin-prohibited': 13 }
          : { 'no-route': 0, 'port-unreachable': 4, 'host-unreachable': 3, 'admin-prohibited': 1 }
      rule.statement({ kind: 'reject', data: { type: 'icmp', code: codes[why] } })
    } else rule.statement({ kind: 'reject', data: { type: 'icmpx', code: icmpxCodes[why] } })
  }

const setFrom = (kind: 'meta' | 'ct'): Expression =>
  kind === 'meta'
    ? { kind: 'meta', data: { key: 'mark', sreg: REG_1 } }
    : { kind: 'ct', data: { key: 'mark', sreg: REG_1 } }
const loadMark = (kind: 'meta' | 'ct'): Expression =>
  kind === 'meta'
    ? { kind: 'meta', data: { key: 'mark', dreg: REG_1 } }
    : { kind: 'ct', data: { key: 'mark', dreg: REG_1 } }

/** A mark: a number, the other mark, or this one with bits cleared and then set. */
export type MarkValue = number | 'ct mark' | 'meta mark' | { readonly and?: number; readonly or?: number }

const setMark =
  (kind: 'meta' | 'ct', value: MarkValue): Part =>
  (rule) => {
    if (typeof value === 'number')
      rule.statement(
        { kind: 'immediate', data: { dreg: REG_1, data: { value: dataTypes.mark.encode(value) } } },
        setFrom(kind),
      )
    else if (typeof value === 'string')
      rule.statement(loadMark(value === 'ct mark' ? 'ct' : 'meta'), setFrom(kind))
    else {
      const { and = 0xffff_ffff, or = 0 } = value
      // The kernel computes (mark & mask) ^ xor: clear what is to be set, then flip it.
      const mask = dataTypes.mark.encode((and & ~or) >>> 0)
      rule.statement(
        loadMark(kind),
        {
          kind: 'bitwise',
          data: {
            sreg: REG_1,
            dreg: REG_1,
            op: 'bool',
            len: 4,
            mask: { value: mask },
            xor: { value: dataTypes.mark.encode(or >>> 0) },
          },
        },
        setFrom(kind),
      )
    }
  }

/** `meta mark set 0x1`, `meta mark set ct mark`, `meta mark set meta mark | 0x2000` (`{or: 0x2000}`) */
export const setMetaMark = (value: MarkValue): Part => setMark('meta', value)
/** `ct mark set 0x1`, `ct mark set meta mark` */
export const setCtMark = (value: MarkValue): Part => setMark('ct', value)

/**
 * `FIELD . FIELD vmap @NAME`: what to do, from a verdict map of the table; or from one that is written out,
 * `FIELD vmap { KEY : VERDICT, … }`
 */
export const vmap =
  (keys: readonly Field[], map: string | readonly SetElement[]): Part =>
  (rule) => {
    const load = loadConcat(rule, keys)
    if (typeof map === 'string')
      return rule.statement(...load, { kind: 'lookup', data: { sreg: REG_1, dreg: REG_VERDICT, set: map } })
    const content = intervalsOf({ key: keys.map(({ type }) => type), data: 'verdict', elements: map })
    rule.statement(...load, rule.anonymous(content, { dreg: REG_VERDICT }))
  }

/** `counter name "NAME"`: counts on a counter object of the table */
export const namedCounter =
  (name: string): Part =>
  (rule) =>
    rule.statement({ kind: 'objref', data: { type: 1, name } })

/** Expressions as they are, for what has no function here. They count as a statement: matches do not move across. */
export const raw =
  (...expressions: Expression[]): Part =>
  (rule: RuleContext) =>
    rule.statement(...expressions)
