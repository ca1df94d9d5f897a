/** Whether a rule in the kernel is the one we would write. */
import { type Expression, NAT_RANGE } from './expressions.ts'
import type { Rule } from './rule.ts'
import { expressionsOf, type Part } from './rules/context.ts'

type Attributes = Readonly<Record<string, unknown>>

const isAttributes = (value: unknown): value is Attributes =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array)

const startOf: Readonly<Record<string, string>> = { addrMax: 'addrMin', protoMax: 'protoMin' }

/** What the kernel adds to an expression when it lists it, though nobody wrote it. */
const isDefault = (name: string, value: unknown, all: Attributes): boolean =>
  value === 0 ||
  value === undefined ||
  value === 'bool' ||
  (name === 'level' && value === 'warn') ||
  // The end of a range of addresses or ports equals its start where there is none.
  value === all[startOf[name] ?? '']

const sameValue = (wanted: unknown, listed: unknown): boolean => {
  if (wanted instanceof Uint8Array && listed instanceof Uint8Array)
    return wanted.length === listed.length && wanted.every((byte, i) => byte === listed[i])
  if (isAttributes(wanted) && isAttributes(listed)) return sameAttributes(wanted, listed)
  return wanted === listed
}

const sameAttributes = (wanted: Attributes, listed: Attributes): boolean => {
  const names = new Set([...Object.keys(wanted), ...Object.keys(listed)])
  for (const name of names) {
    const [left, right] = [wanted[name], listed[name]]
    if (sameValue(left, right)) continue
    if (
      left === undefined
        ? !isDefault(name, right, listed)
        : right !== undefined || !isDefault(name, left, wanted)
    )
      return false
  }
  return true
}

/** Address translation: the flags that follow from the registers, which the kernel sets by itself. */
const translates = new Set(['nat', 'masq', 'redir'])
const impliedFlags = NAT_RANGE.mapIps | NAT_RANGE.protoSpecified

const attributesOf = (expression: Expression): Attributes => {
  const data = (expression.data ?? {}) as Attributes
  if ('raw' in expression) return { ...data, raw: expression.raw }
  const { flags } = data
  return translates.has(expression.kind) && typeof flags === 'number'
    ? { ...data, flags: flags & ~impliedFlags }
    : data
}

/** What counts changes with every packet. */
const moving = new Set(['counter', 'quota'])

/** Whether `listed` does the same as `wanted`. Counters may stand at any number. */
export const sameExpressions = (wanted: readonly Expression[], listed: readonly Expression[]): boolean =>
  wanted.length === listed.length &&
  wanted.every((expression, i) => {
    const other = listed[i]!
    if (expression.kind !== other.kind) return false
    if (moving.has(expression.kind)) return true
    return sameAttributes(attributesOf(expression), attributesOf(other))
  })

/**
 * Whether a listed rule does what the parts say; comments are not compared. Rules with anonymous sets never match:
 * their elements stand elsewhere.
 */
export const sameRule = (rule: Rule, parts: readonly Part[]): boolean =>
  sameExpressions(expressionsOf(rule.family, parts), rule.expressions)

/** Whether two lists are of the same rules in the same places, as far as the kernel tells. Counters differ as they count. */
export const sameListing = (a: readonly Rule[], b: readonly Rule[]): boolean =>
  a.length === b.length && a.every(({ told }, i) => Buffer.compare(told, b[i]!.told) === 0)
