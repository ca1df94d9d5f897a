/** Conditions of the nftables backend (`conditionsV4`, `conditionsV6`): words of a line for nft. */
import { createHash } from 'node:crypto'
import { invalidConfig } from '../../cni/error.ts'
import { addRule, match, type Part, type Range, range } from '../../netlink/nftables/index.ts'
import { type Comparable, comparables, MOST_WORDS, understood } from './conditions-fields.ts'
import { lineOf, type Token, tokensOf } from './conditions-lexer.ts'

/** What packets have to match, besides the port. */
export interface Conditions {
  /** A hash of them: networks with the same conditions share their maps. Empty: there are none. */
  readonly group: string
  /** As nft takes them. */
  readonly text: string
  readonly parts: readonly Part[]
}

type Value = string | Range

const none: Conditions = { group: '', text: '', parts: [] }

/** Reads one line of tokens; what it does not understand ends it with a RangeError that names the token. */
class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  get done(): boolean {
    return this.#at >= this.#tokens.length
  }

  #fail(what: string): never {
    const token = this.#tokens[this.#at]
    throw new RangeError(
      token ? `${JSON.stringify(token.text)} is not ${what}` : `${what} is missing at the end`,
    )
  }

  #take(operator: string): boolean {
    const token = this.#tokens[this.#at]
    if (!token || token.quoted || token.text !== operator) return false
    this.#at++
    return true
  }

  /** A value, not an operator. */
  #word(what: string): string {
    const token = this.#tokens[this.#at]
    if (!token || (!token.quoted && /^(?:==|!=|[{},&])$/.test(token.text))) this.#fail(what)
    this.#at++
    return token.text
  }

  #comparable(): readonly [string, Comparable] {
    for (let count = MOST_WORDS; count > 0; count--) {
      const words = this.#tokens.slice(this.#at, this.#at + count)
      const name = words.map(({ text }) => text).join(' ')
      const found = words.length === count && !words.some(({ quoted }) => quoted) && comparables.get(name)
      if (!found) continue
      this.#at += count
      return [name, found]
    }
    return this.#fail('something that conditions can be about')
  }

  /** A range, or what stands there. Addresses, numbers and prefixes hold no minus; names of interfaces may. */
  #value({ field }: Comparable): Value {
    const word = this.#word(`a value for ${field.name}`)
    const [from, to, ...more] = field.type.name === 'ifname' ? [word] : word.split('-')
    const numbers = /^(?:[0-9a-fx.:]+)$/i
    return from && to && more.length === 0 && numbers.test(from) && numbers.test(to) ? range(from, to) : word
  }

  #list(comparable: Comparable): Value[] {
    const values: Value[] = []
    do values.push(this.#value(comparable))
    while (this.#take(','))
    return values
  }

  /** The next match. */
  next(): Part {
    const [name, comparable] = this.#comparable()
    const { field, bits = false } = comparable
    if (this.#take('&')) return this.#masked(name, comparable)
    const op = this.#take('!=') ? 'ne' : 'eq'
    if (op === 'eq') this.#take('==')
    if (this.#take('{')) {
      const values = this.#list(comparable)
      if (!this.#take('}')) this.#fail('the end of a set, }')
      return match.field(field, values, op)
    }
    if (!bits) return match.field(field, this.#value(comparable), op)
    const words = this.#list(comparable)
    const known = words.filter((word) => typeof word === 'string')
    if (known.length < words.length) throw new RangeError(`${name} takes words, not ranges`)
    return name === 'ct state'
      ? match.ctState(known as Parameters<typeof match.ctState>[0], op)
      : match.ctStatus(known as Parameters<typeof match.ctStatus>[0], op)
  }

  #number(): number {
    const token = this.#tokens[this.#at]
    const word = this.#word('a number')
    if (/^(?:0x[0-9a-f]{1,8}|\d{1,10})$/i.test(word) && Number(word) <= 0xffff_ffff) return Number(word)
    throw new RangeError(`${JSON.stringify(token?.text)} is not a number of 32 bits`)
  }

  /** `& MASK [==|!=] VALUE` */
  #masked(name: string, { field }: Comparable): Part {
    if (field.type.name !== 'mark') throw new RangeError(`${name} takes no "&": only marks do`)
    const mask = this.#number()
    const op = this.#take('!=') ? 'ne' : 'eq'
    if (op === 'eq') this.#take('==')
    const value = this.#number()
    return name === 'ct mark' ? match.ctMarkBits(mask, value, op) : match.markBits(mask, value, op)
  }
}

/**
 * Reads conditions, in the words of nft: `["ip", "saddr", "!=", "10.0.0.0/8", "iifname", "eth*"]`. No program is run:
 * what is not understood here is an error, not somebody else's to judge.
 * @throws CniError code 7, which names what is not understood and says what is
 */
export const parseConditions = (family: 'ip' | 'ip6', words: readonly string[]): Conditions => {
  const { tokens, rest } = tokensOf(words.join(' '))
  try {
    if (rest !== '') throw new RangeError(`${JSON.stringify(rest)} is not understood`)
    if (tokens.length === 0) return none
    const parser = new Parser(tokens)
    const parts: Part[] = []
    while (!parser.done) parts.push(parser.next())
    // Values and combinations are looked at when the rule is built.
    addRule({ family, table: 'conditions', chain: 'conditions', rule: parts })
    const text = lineOf(tokens)
    return { group: createHash('sha512').update(text).digest('hex').slice(0, 16), text, parts }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    const key = family === 'ip' ? 'conditionsV4' : 'conditionsV6'
    throw invalidConfig(`failed to parse config: ${key}: ${error.message}`, `understood are ${understood}`)
  }
}
