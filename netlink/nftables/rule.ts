/** Rules: what a chain does with packets, in order. */
import { MalformedError, Reader } from '../codec/reader.ts'
import { string } from '../codec/types.ts'
import { align } from '../codec/writer.ts'
import { dump, type Request } from '../request.ts'
import { nfgenmsg, ruleLayout } from './attributes.ts'
import type { ChainRef } from './chain.ts'
import { type Family, familyName, NFT_MSG } from './constants.ts'
import { type Expression, expressionList } from './expressions.ts'
import { familyHeader, message, type Operation, operation, verbFlags } from './operation.ts'
import { build, type Part } from './rules/context.ts'
import { setMessages } from './set-messages.ts'
import { readComment, readTag, ruleUserdata } from './userdata.ts'

export interface RuleOptions extends ChainRef {
  /** What it does, left to right, as in a line for nft: `[match.ipSaddr('10.1.2.3'), masquerade()]`. */
  readonly rule: readonly Part[]
  /** `comment "…"`, at most 128 bytes. */
  readonly comment?: string | undefined
  /**
   * Kept with the rule and shown by no program, at most 128 bytes: whose it is, in tables that iptables manages. Gone
   * when iptables-restore or nft make the rule anew.
   */
  readonly tag?: string | undefined
}

const describe = (verb: string, { family, table, chain, comment }: RuleOptions): string =>
  `${verb} rule ${family} ${table} ${chain}${comment === undefined ? '' : ` comment ${JSON.stringify(comment)}`}`

const put = (
  verb: 'add' | 'insert' | 'replace',
  options: RuleOptions,
  place: { handle?: bigint; position?: bigint } = {},
): Operation => {
  const { family, table, chain } = options
  const built = build(family, options.rule)
  const op = describe(verb, options)
  return {
    op,
    messages: (nextId) => {
      const ids = built.sets.map(() => nextId())
      return [
        ...built.sets.flatMap((set, i) => setMessages({ op, family, table, set, id: ids[i]! })),
        message(ruleLayout, {
          op,
          type: NFT_MSG.newRule,
          flags: verbFlags[verb === 'add' ? 'append' : verb],
          family,
          attributes: {
            table,
            chain,
            handle: place.handle,
            expressions: built.expressions(ids),
            position: place.position,
            userdata: ruleUserdata(options.comment, options.tag),
          },
        }),
      ]
    },
  }
}

/** `nft add rule FAMILY TABLE CHAIN …`: at the end, or `after` the rule with that handle. */
export const addRule = (options: RuleOptions, after?: bigint): Operation =>
  put('add', options, after === undefined ? {} : { position: after })

/** `nft insert rule FAMILY TABLE CHAIN …`: at the start, or `before` the rule with that handle. */
export const insertRule = (options: RuleOptions, before?: bigint): Operation =>
  put('insert', options, before === undefined ? {} : { position: before })

/** `nft replace rule FAMILY TABLE CHAIN handle HANDLE …`. */
export const replaceRule = (options: RuleOptions, handle: bigint): Operation =>
  put('replace', options, { handle })

/** `nft delete rule FAMILY TABLE CHAIN handle HANDLE`. ENOENT when it is not there. */
export const deleteRule = ({ family, table, chain, handle }: ChainRef & { handle: bigint }): Operation =>
  operation(ruleLayout, {
    op: `delete rule ${family} ${table} ${chain} handle ${handle}`,
    type: NFT_MSG.delRule,
    family,
    attributes: { table, chain, handle },
  })

/** `nft flush chain FAMILY TABLE CHAIN`: deletes its rules. ENOENT when it is not there. */
export const flushChain = ({ family, table, chain }: ChainRef): Operation =>
  operation(ruleLayout, {
    op: `flush chain ${family} ${table} ${chain}`,
    type: NFT_MSG.delRule,
    family,
    attributes: { table, chain },
  })

/** A rule as the kernel lists it. */
export interface Rule extends ChainRef {
  readonly handle: bigint
  readonly comment: string | undefined
  /** See {@link RuleOptions.tag}. */
  readonly tag: string | undefined
  /** Decoded when first read. */
  readonly expressions: readonly Expression[]
  /** The expressions as bytes. */
  readonly raw: Uint8Array
  /** All that the kernel tells of it, as bytes. */
  readonly told: Uint8Array
}

/** `NFTA_RULE_*` numbers that a {@link ListedRule} reads. */
const {
  table: TABLE,
  chain: CHAIN,
  handle: HANDLE,
  expressions: EXPRESSIONS,
  userdata: USERDATA,
} = ruleLayout.attributes.rows
const nothing = new Reader(new Uint8Array())

/**
 * A rule that is decoded as far as it is looked at. Hosts have thousands, and of most only the comment is read: this
 * takes a tenth of what the tables take.
 */
class ListedRule implements Rule {
  readonly family: Family
  readonly #message: Reader
  /** Offset and end of each attribute's payload, by its number. */
  readonly #places: number[] = []
  #expressions: readonly Expression[] | undefined

  constructor(family: Family, message: Reader) {
    this.family = family
    this.#message = message
    let offset = nfgenmsg.size
    while (offset + 4 <= message.length) {
      const length = message.u16(offset)
      if (length < 4 || offset + length > message.length)
        throw new MalformedError(`attribute of length ${length} at offset ${offset} of ${message.length}`)
      const type = message.u16(offset + 2) & 0x3fff
      if (type <= USERDATA[0]) {
        this.#places[type * 2] = offset + 4
        this.#places[type * 2 + 1] = offset + length
      }
      offset += align(length)
    }
  }

  #payload(type: number): Reader {
    const start = this.#places[type * 2]
    return start === undefined ? nothing : this.#message.slice(start, this.#places[type * 2 + 1])
  }

  get table(): string {
    return string.read(this.#payload(TABLE[0]))
  }
  get chain(): string {
    return string.read(this.#payload(CHAIN[0]))
  }
  get handle(): bigint {
    return this.#payload(HANDLE[0]).be64()
  }
  get comment(): string | undefined {
    return readComment(this.#payload(USERDATA[0]).bytes)
  }
  get tag(): string | undefined {
    return readTag(this.#payload(USERDATA[0]).bytes)
  }
  get raw(): Uint8Array {
    return this.#payload(EXPRESSIONS[0]).bytes
  }
  get told(): Uint8Array {
    return this.#message.bytes.subarray(nfgenmsg.size)
  }
  get expressions(): readonly Expression[] {
    this.#expressions ??= expressionList.read(this.#payload(EXPRESSIONS[0]))
    return this.#expressions
  }
}

/**
 * `nft -a list chain FAMILY TABLE CHAIN` (or table, or everything): rules in their order, filtered by the kernel. The
 * kernel says nothing about a table or chain that is missing: the list is empty.
 */
export const listRules = (
  filter: { family?: Family; table?: string; chain?: string } = {},
): Request<Rule[]> => ({
  ...dump(
    ruleLayout,
    {
      op: ['list rules', filter.family, filter.table, filter.chain].filter(Boolean).join(' '),
      type: NFT_MSG.getRule,
      header: familyHeader(filter.family),
      attributes: { table: filter.table, chain: filter.chain },
    },
    () => undefined,
  ),
  read: (messages) =>
    messages.flatMap(({ payload }) => {
      const family = familyName(payload.u8())
      return family === undefined ? [] : new ListedRule(family, payload)
    }),
})

/** The chain that a rule jumps or goes to, if it does. */
export const jumpTarget = ({ expressions }: Pick<Rule, 'expressions'>): string | undefined => {
  for (const expression of expressions)
    if (expression.kind === 'immediate' && expression.data?.data?.verdict?.chain !== undefined)
      return expression.data.data.verdict.chain
  return undefined
}
