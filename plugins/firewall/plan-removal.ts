/** Which rules go with an attachment: its own, and those of its addresses that are nobody else's. */
import type { Change, Listed, Lists } from './filter.ts'
import { rulesIn } from './filter.ts'
import { networkKey, ownerKey, zoneOfOwner } from './owner.ts'
import { OWNERS, PERMITS, permittedAddress } from './rules.ts'

/** Somebody's address: a tagged permit, or a marker. */
export interface Claim {
  readonly chain: string
  readonly listed: Listed
  readonly address: string
  readonly owner: string
}

/** Every claim of a table. */
export const claims = (lists: Lists): Claim[] => [
  ...rulesIn(lists, PERMITS).flatMap((listed): Claim[] => {
    const address = listed.rule && permittedAddress(listed.rule)
    const { owner } = listed
    return address === undefined || owner === undefined ? [] : [{ chain: PERMITS, listed, address, owner }]
  }),
  ...rulesIn(lists, OWNERS).flatMap((listed): Claim[] => {
    const { source: address, comment: owner } = listed.rule ?? {}
    return address === undefined || owner === undefined ? [] : [{ chain: OWNERS, listed, address, owner }]
  }),
]

export interface Removal {
  readonly changes: readonly Change[]
  /** Addresses that nobody claims any more. */
  readonly free: readonly string[]
  /** firewalld's zones of those of them that are sources, as far as their owners have said so. */
  readonly zones: ReadonlyMap<string, string>
}

/**
 * Removes claims, and the permits without an owner (of other implementations, of iptables, or restored ones) for
 * addresses that nobody claims then.
 * @param addresses that the attachment has besides those it claims
 */
const removeClaims = (
  lists: Lists,
  goes: (claim: Claim) => boolean,
  addresses: readonly string[],
): Removal => {
  const all = claims(lists)
  const going = all.filter(goes)
  const claimed = new Set(all.filter((claim) => !going.includes(claim)).map(({ address }) => address))
  const free = new Set(
    [...addresses, ...going.map(({ address }) => address)].filter((address) => !claimed.has(address)),
  )
  const unowned = rulesIn(lists, PERMITS).filter(({ rule, owner }) => {
    const address = rule && permittedAddress(rule)
    return owner === undefined && address !== undefined && free.has(address)
  })
  const zones = new Map<string, string>()
  for (const { address, owner } of going) {
    const zone = zoneOfOwner(owner)
    if (zone !== undefined && free.has(address)) zones.set(address, zone)
  }
  return {
    zones,
    changes: [
      ...going.map(({ chain, listed }) => ({ do: 'delete', chain, listed, shared: false }) as const),
      ...unowned.map((listed) => ({ do: 'delete', chain: PERMITS, listed, shared: false }) as const),
    ],
    free: [...free],
  }
}

/** What goes with an attachment. */
export const removalOf = (lists: Lists, owner: string, addresses: readonly string[]): Removal => {
  const key = ownerKey(owner)
  return removeClaims(lists, (claim) => ownerKey(claim.owner) === key, addresses)
}

/** What goes of a network's attachments. @param valid owners that stay */
export const collectionOf = (lists: Lists, network: string, valid: readonly string[]): Removal => {
  const prefix = networkKey(network)
  const stay = new Set(valid.map(ownerKey))
  return removeClaims(lists, ({ owner }) => networkKey(owner) === prefix && !stay.has(ownerKey(owner)), [])
}
