/**
 * Rules as `iptables` and `ip6tables` write them into nf_tables: expressions of nf_tables where there are any, matches
 * of xtables (nft_compat) for the rest, a counter, a verdict. What is written so is listed, matched and deleted by the
 * programs like a rule of their own. Modelled on iptables 1.8.9.
 */
import { littleEndian } from '../codec/writer.ts'
import { formatCidr, parseCidr } from '../ip.ts'
import { REG_1, REG_VERDICT } from './constants.ts'
import type { Expression } from './expressions.ts'
import type { Rule } from './rule.ts'
import type { Part } from './rules/context.ts'
import { raw } from './rules/statement.ts'

/** An interface's name in a rule; `not`: every other one. */
export interface InterfaceMatch {
  readonly name: string
  readonly not?: boolean | undefined
}

/** A rule in the words of iptables. */
export interface XtablesRule {
  /** `-s`: `10.1.2.3/32` */
  readonly source?: string | undefined
  /** `-d` */
  readonly destination?: string | undefined
  /** `-i` */
  readonly in?: InterfaceMatch | undefined
  /** `-o` */
  readonly out?: InterfaceMatch | undefined
  /** `-m conntrack --ctstate RELATED,ESTABLISHED` */
  readonly established?: boolean | undefined
  /** `-m comment --comment`, at most 255 bytes */
  readonly comment?: string | undefined
  /** `-j`: ACCEPT, DROP, RETURN or a chain. Without it the rule only counts. */
  readonly target?: string | undefined
}

const families = {
  ip: { size: 4, source: 12, destination: 16 },
  ip6: { size: 16, source: 8, destination: 24 },
} as const
/** Families that iptables has a program for. */
export type XtablesFamily = keyof typeof families

const verdicts = { ACCEPT: 'accept', DROP: 'drop', RETURN: 'return' } as const
const isVerdict = (target: string): target is keyof typeof verdicts => Object.hasOwn(verdicts, target)

/** `struct xt_comment_info`, linux/netfilter/xt_comment.h: XT_MAX_COMMENT_LEN. */
const COMMENT_SIZE = 256

/** `struct xt_conntrack_mtinfo3`, linux/netfilter/xt_conntrack.h, padded to 8 bytes. */
const CONNTRACK = { rev: 3, size: 168, matchFlags: 146, stateMask: 150 } as const
/** XT_CONNTRACK_STATE */
const BY_STATE = 1
/** XT_CONNTRACK_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED. */
const RELATED_ESTABLISHED = 0b110

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const untilNul = (bytes: Uint8Array): string => {
  const end = bytes.indexOf(0)
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end))
}

const comment = (text: string): Expression => {
  const bytes = encoder.encode(text)
  if (bytes.length >= COMMENT_SIZE || bytes.includes(0))
    throw new RangeError(`a comment of ${bytes.length} bytes, iptables takes at most ${COMMENT_SIZE - 1}`)
  const info = new Uint8Array(COMMENT_SIZE)
  info.set(bytes)
  return { kind: 'match', data: { name: 'comment', rev: 0, info } }
}

const conntrack = (): Expression => {
  const info = new Uint8Array(CONNTRACK.size)
  const view = new DataView(info.buffer)
  view.setUint16(CONNTRACK.matchFlags, BY_STATE, littleEndian)
  view.setUint16(CONNTRACK.stateMask, RELATED_ESTABLISHED, littleEndian)
  return { kind: 'match', data: { name: 'conntrack', rev: CONNTRACK.rev, info } }
}
const conntrackInfo = conntrack()

const compare = (value: Uint8Array, not = false): Expression => ({
  kind: 'cmp',
  data: { sreg: REG_1, op: not ? 'neq' : 'eq', data: { value } },
})

const address = (cidr: string, offset: number, size: number): Expression[] => {
  const parsed = parseCidr(cidr)
  if (parsed?.ip.length !== size || parsed.prefix !== size * 8)
    throw new RangeError(`${JSON.stringify(cidr)} is not one address of ${size} bytes`)
  return [{ kind: 'payload', data: { dreg: REG_1, base: 'network', offset, len: size } }, compare(parsed.ip)]
}

const named = (key: 'iifname' | 'oifname', { name, not }: InterfaceMatch): Expression[] => [
  { kind: 'meta', data: { key, dreg: REG_1 } },
  // With its NUL: without, it is a prefix (`eth+`).
  compare(encoder.encode(`${name}\0`), not),
]

/**
 * A rule's parts, for `addRule` in a table of iptables: `iptables -A CHAIN …`.
 * @throws RangeError for an address of the other family or a range of them, and for a comment that is too long
 */
export const xtablesRule = (family: XtablesFamily, rule: XtablesRule): readonly Part[] => {
  const at = families[family]
  const { target } = rule
  return [
    raw(
      ...(rule.in ? named('iifname', rule.in) : []),
      ...(rule.out ? named('oifname', rule.out) : []),
      ...(rule.source ? address(rule.source, at.source, at.size) : []),
      ...(rule.destination ? address(rule.destination, at.destination, at.size) : []),
      ...(rule.established ? [conntrackInfo] : []),
      ...(rule.comment === undefined ? [] : [comment(rule.comment)]),
      { kind: 'counter', data: { bytes: 0n, packets: 0n } },
      ...(target === undefined
        ? []
        : [
            {
              kind: 'immediate' as const,
              data: {
                dreg: REG_VERDICT,
                data: {
                  verdict: isVerdict(target)
                    ? { code: verdicts[target] }
                    : { code: 'jump' as const, chain: target },
                },
              },
            },
          ]),
    ),
  ]
}

/** What was loaded last, waiting for its comparison. */
type Loaded = 'source' | 'destination' | 'in' | 'out'

const loadedBy = (family: XtablesFamily, { kind, data }: Expression): Loaded | undefined => {
  if (kind === 'meta') return data?.key === 'iifname' ? 'in' : data?.key === 'oifname' ? 'out' : undefined
  if (kind !== 'payload' || data?.base !== 'network') return undefined
  const at = families[family]
  return data.offset === at.source ? 'source' : data.offset === at.destination ? 'destination' : undefined
}

const isRelatedEstablished = (info: Uint8Array): boolean => {
  const wanted = conntrackInfo.data as { readonly info: Uint8Array }
  return info.length >= wanted.info.length && wanted.info.every((byte, i) => info[i] === byte)
}

/** Reads one comparison. @returns false for what a {@link XtablesRule} has no word for */
const readCompare = (
  family: XtablesFamily,
  into: { -readonly [K in keyof XtablesRule]: XtablesRule[K] },
  loaded: Loaded,
  value: Uint8Array,
  not: boolean,
): boolean => {
  if (into[loaded] !== undefined) return false
  if (loaded === 'in' || loaded === 'out') {
    if (value.at(-1) !== 0) return false
    into[loaded] = { name: untilNul(value), ...(not && { not }) }
    return true
  }
  if (not || value.length !== families[family].size) return false
  into[loaded] = formatCidr({ ip: value, prefix: value.length * 8 })
  return true
}

/** What a listed rule says, where all of it can be said in these words; undefined for any other. */
export const readXtablesRule = (listed: Rule): XtablesRule | undefined => {
  const { family } = listed
  if (family !== 'ip' && family !== 'ip6') return undefined
  const rule: { -readonly [K in keyof XtablesRule]: XtablesRule[K] } = {}
  let loaded: Loaded | undefined
  for (const expression of listed.expressions) {
    const { kind, data } = expression
    if (rule.target !== undefined) return undefined
    if (kind === 'payload' || kind === 'meta') {
      loaded = loadedBy(family, expression)
      if (!loaded) return undefined
    } else if (kind === 'cmp') {
      const value = data?.data?.value
      const op = data?.op
      if (!loaded || !value || (op !== 'eq' && op !== 'neq')) return undefined
      if (!readCompare(family, rule, loaded, value, op === 'neq')) return undefined
      loaded = undefined
    } else if (kind === 'match' && data?.name === 'comment')
      rule.comment = untilNul(data.info ?? new Uint8Array())
    else if (kind === 'match' && data?.name === 'conntrack') {
      if (data.rev !== CONNTRACK.rev || !isRelatedEstablished(data.info ?? new Uint8Array())) return undefined
      rule.established = true
    } else if (kind === 'immediate') {
      const verdict = data?.data?.verdict
      const word = Object.entries(verdicts).find(([, code]) => code === verdict?.code)?.[0]
      const target = word ?? (verdict?.code === 'jump' ? verdict.chain : undefined)
      if (target === undefined) return undefined
      rule.target = target
    } else if (kind !== 'counter') return undefined
  }
  // Where iptables has kept it in other versions.
  if (rule.comment === undefined && listed.comment !== undefined) rule.comment = listed.comment
  return rule
}

/** Targets that no packet comes back from. */
const final = new Set(['REJECT', 'DROP', 'ACCEPT', 'RETURN'])

/** Whether no packet gets past the rule: it asks nothing, and accepts, drops, returns or refuses. */
export const takesAll = ({ expressions }: Pick<Rule, 'expressions'>): boolean =>
  expressions.length > 0 &&
  expressions.every((expression) => {
    const { kind, data } = expression
    if (kind === 'match') return data?.name === 'comment'
    return kind === 'counter' || kind === 'immediate' || kind === 'reject' || kind === 'target'
  }) &&
  expressions.some(({ kind, data }) => {
    if (kind === 'reject') return true
    if (kind === 'target') return final.has(data?.name ?? '')
    const code = kind === 'immediate' ? data?.data?.verdict?.code : undefined
    return code === 'accept' || code === 'drop' || code === 'return'
  })
