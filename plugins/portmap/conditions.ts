/** Conditions of the nftables backend (`conditionsV4`, `conditionsV6`): the tokens of a line for nft. */
import { invalidConfig } from '../../cni/error.ts'
import type { Part } from '../../netlink/nftables/index.ts'

/** What packets have to match, besides the port. */
export interface Conditions {
  /** A hash of them: networks with the same conditions share their maps. Empty: there are none. */
  readonly group: string
  /** As nft takes them. */
  readonly text: string
  readonly parts: readonly Part[]
}

const none: Conditions = { group: '', text: '', parts: [] }

/**
 * Reads conditions.
 * @throws CniError code 7 for what is not understood
 */
export const parseConditions = (_family: 'ip' | 'ip6', tokens: readonly string[]): Conditions => {
  const text = tokens.join(' ').trim().replace(/\s+/g, ' ')
  if (text === '') return none
  throw invalidConfig(`conditions ${JSON.stringify(text)} are not understood`)
}
