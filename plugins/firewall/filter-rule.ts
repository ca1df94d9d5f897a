/** Rules of the filter table in the words of iptables: as arguments, and read back from `-S`. */
import { formatCidr, parseCidr } from '../../netlink/ip.ts'
import type { XtablesRule } from '../../netlink/nftables/xtables.ts'
import { splitRule } from '../shared/iptables.ts'

const STATES = 'RELATED,ESTABLISHED'

/** The arguments behind `-A CHAIN`, in the order in which `-S` prints them. */
export const wordsOf = (rule: XtablesRule): string[] => [
  ...(rule.source ? ['-s', rule.source] : []),
  ...(rule.destination ? ['-d', rule.destination] : []),
  ...(rule.in ? [...(rule.in.not ? ['!'] : []), '-i', rule.in.name] : []),
  ...(rule.out ? [...(rule.out.not ? ['!'] : []), '-o', rule.out.name] : []),
  ...(rule.established ? ['-m', 'conntrack', '--ctstate', STATES] : []),
  ...(rule.comment === undefined ? [] : ['-m', 'comment', '--comment', rule.comment]),
  ...(rule.target === undefined ? [] : ['-j', rule.target]),
]

/** The same for a sentence. */
export const textOf = (rule: XtablesRule): string =>
  wordsOf(rule)
    .map((word) => (/\s/.test(word) ? JSON.stringify(word) : word))
    .join(' ')

/** Whether two rules say the same. */
export const sameRule = (a: XtablesRule, b: XtablesRule): boolean =>
  wordsOf(a).join('\0') === wordsOf(b).join('\0')

/** Whether they do the same: versions of the Go plugin differ in comments. */
export const sameEffect = (a: XtablesRule, b: XtablesRule): boolean =>
  sameRule({ ...a, comment: undefined }, { ...b, comment: undefined })

/** A rule of `-S`: its chain, and what it says where a {@link XtablesRule} has words for all of it. */
export interface ParsedRule {
  readonly chain: string
  readonly rule: XtablesRule | undefined
  /** It asks nothing of a packet, and none gets past it. */
  readonly takesAll: boolean
}

const address = (text: string): string | undefined => {
  const cidr = parseCidr(text)
  return cidr && cidr.prefix === cidr.ip.length * 8 ? formatCidr(cidr) : undefined
}

const readWords = (words: readonly string[]): XtablesRule | undefined => {
  const rule: { -readonly [K in keyof XtablesRule]: XtablesRule[K] } = {}
  let not = false
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!
    const value = words[i + 1]
    if (word === '!') {
      not = true
      continue
    }
    if (value === undefined) return undefined
    i++
    if (word === '-i' || word === '-o')
      rule[word === '-i' ? 'in' : 'out'] = { name: value, ...(not && { not }) }
    else if (not) return undefined
    else if (word === '-s' || word === '-d') {
      const one = address(value)
      if (one === undefined) return undefined
      rule[word === '-s' ? 'source' : 'destination'] = one
    } else if (word === '-m') {
      if (value !== 'comment' && value !== 'conntrack') return undefined
    } else if (word === '--comment') rule.comment = value
    else if (word === '--ctstate' && value === STATES) rule.established = true
    else if (word === '-j') rule.target = value
    else return undefined
    not = false
  }
  return rule
}

const unconditional =
  /^-A \S+ (?:-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+) )?-j (?:ACCEPT|DROP|RETURN|REJECT)\b/

/** Reads a line of `iptables -S`; undefined for what is no rule. */
export const parseRule = (line: string): ParsedRule | undefined => {
  if (!line.startsWith('-A ')) return undefined
  const [, chain = '', ...words] = splitRule(line)
  return { chain, rule: readWords(words), takesAll: unconditional.test(line) }
}
