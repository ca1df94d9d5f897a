/** Chains: lists of rules; base chains are called by the kernel, the others by rules. */
import { dump, get, type Request } from '../request.ts'
import { chainLayout, type NfMessage } from './attributes.ts'
import { type Family, familyName, type Hook, hookName, hookNumber, NFT_MSG } from './constants.ts'
import { familyHeader, type Operation, operation, sequence, verbFlags } from './operation.ts'
import type { TableRef } from './table.ts'
import { commentUserdata, readComment } from './userdata.ts'

/** What names a chain. */
export interface ChainRef extends TableRef {
  readonly chain: string
}

/** What makes a chain a base chain: `type TYPE hook HOOK [device DEVICE] priority PRIORITY; policy POLICY;`. */
export interface BaseChain {
  readonly type: 'filter' | 'nat' | 'route'
  readonly hook: Hook
  /** Chains of one hook run in ascending order. See {@link priorities}. */
  readonly priority: number
  /** What becomes of packets that no rule decides. Default `accept`, also when listed without one. */
  readonly policy?: 'accept' | 'drop' | undefined
  /** For the hooks ingress and egress: the interface. */
  readonly device?: string | undefined
}

/** nft's names of priorities, in the families but bridge. `dstnat` is written -100, and so on. */
export const priorities = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
} as const

export interface ChainOptions extends ChainRef {
  /** Makes it a base chain. */
  readonly base?: BaseChain | undefined
  /** At most 128 bytes. Kernels before 5.10 do not keep it. */
  readonly comment?: string | undefined
}

const add = (verb: 'add' | 'create', { family, table, chain, base, comment }: ChainOptions): Operation =>
  operation(chainLayout, {
    op: `${verb} chain ${family} ${table} ${chain}`,
    type: NFT_MSG.newChain,
    flags: verbFlags[verb],
    family,
    attributes: {
      table,
      chain,
      ...(base && {
        type: base.type,
        policy: base.policy ?? 'accept',
        hook: {
          number: hookNumber(family, base.hook),
          priority: base.priority >>> 0,
          ...(base.device !== undefined && { device: base.device }),
        },
      }),
      userdata: commentUserdata(comment),
    },
  })

/**
 * `nft add chain FAMILY TABLE NAME { … }`. One that exists already stays, rules and all; its policy is set. EEXIST
 * when it is there with another hook, type or priority, or is a base chain and this is not (or the reverse:
 * EOPNOTSUPP).
 */
export const addChain = (options: ChainOptions): Operation => add('add', options)

/** `nft create chain FAMILY TABLE NAME { … }`: EEXIST when it is there. */
export const createChain = (options: ChainOptions): Operation => add('create', options)

/**
 * `nft delete chain FAMILY TABLE NAME`. Its rules go with it. ENOENT when it is not there, EBUSY while a rule or a map
 * elsewhere jumps to it.
 */
export const deleteChain = ({ family, table, chain }: ChainRef): Operation =>
  operation(chainLayout, {
    op: `delete chain ${family} ${table} ${chain}`,
    type: NFT_MSG.delChain,
    family,
    attributes: { table, chain },
  })

/**
 * Deletes the chain if it is there; its table must be: `nft destroy chain FAMILY TABLE NAME`, on every kernel, as
 * `destroyTable` does it. EBUSY while something jumps to it.
 */
export const destroyChain = ({ family, table, chain }: ChainRef): Operation =>
  sequence(`destroy chain ${family} ${table} ${chain}`, [
    addChain({ family, table, chain }),
    deleteChain({ family, table, chain }),
  ])

/** A chain as the kernel lists it. */
export interface Chain extends ChainRef {
  readonly handle: bigint
  /** Rules in it, and rules and elements that jump to it. */
  readonly use: number
  readonly base: BaseChain | undefined
  readonly comment: string | undefined
}

const toChain = ({ family, attributes }: NfMessage<typeof chainLayout>): Chain | undefined => {
  const name = familyName(family)
  const { table, chain, hook, type } = attributes
  if (name === undefined || table === undefined || chain === undefined) return undefined
  const hooked = hook?.number === undefined ? undefined : hookName(name, hook.number)
  const device = hook?.device ?? hook?.devices?.[0]
  return {
    family: name,
    table,
    chain,
    handle: attributes.handle ?? 0n,
    use: attributes.use ?? 0,
    base: hooked && {
      type: type as BaseChain['type'],
      hook: hooked,
      priority: (hook?.priority ?? 0) | 0,
      policy: attributes.policy === 'drop' ? 'drop' : 'accept',
      ...(device !== undefined && { device }),
    },
    comment: readComment(attributes.userdata),
  }
}

/**
 * `nft list chains [FAMILY]`. The kernel filters by family only; `table` is applied here. An empty list where the
 * table is missing.
 */
export const listChains = (filter: { family?: Family; table?: string } = {}): Request<Chain[]> =>
  dump(
    chainLayout,
    {
      op: `list chains${filter.family ? ` ${filter.family}` : ''}`,
      type: NFT_MSG.getChain,
      header: familyHeader(filter.family),
    },
    (message) => {
      const chain = toChain(message)
      return chain && (filter.table === undefined || chain.table === filter.table) ? chain : undefined
    },
  )

/** One chain, without its rules. ENOENT when it or its table is not there. */
export const getChain = ({ family, table, chain }: ChainRef): Request<Chain> => {
  const op = `list chain ${family} ${table} ${chain}`
  return get(
    chainLayout,
    { op, type: NFT_MSG.getChain, header: familyHeader(family), attributes: { table, chain } },
    (message) => {
      const found = toChain(message)
      if (!found) throw new Error(`${op}: the kernel answered with another object`)
      return found
    },
  )
}
