/** Which rules go with an attachment: its own, and those of its addresses that are nobody else's. */
import { parseCidr } from '../../netlink/ip.ts'
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

const claimOf = (chain: string, listed: Listed): Claim | undefined => {
  const { rule, owner } = listed
  const address = chain === PERMITS ? rule && permittedAddress(rule) : rule?.source
  const text = chain === PERMITS ? owner : rule?.comment
  return address === undefined || text === undefined ? undefined : { chain, listed, address, owner: text }
}

/** The claims of a table whose owners these are, or, with addresses, that are about one of them. */
export const claims = (
  lists: Lists,
  isAsked: (owner: string) => boolean = () => true,
  addresses?: readonly string[],
): Claim[] => {
  const ips = addresses && bytesOf(addresses)
  return [PERMITS, OWNERS].flatMap((chain) =>
    rulesIn(lists, chain).flatMap((listed) => {
      // Whose it is costs less to know than what it says.
      if (chain === PERMITS && (listed.owner === undefined || !isAsked(listed.owner))) return []
      if (ips && !ips.some((ip) => listed.mentions(ip))) return []
      const claim = claimOf(chain, listed)
      return claim && isAsked(claim.owner) ? claim : []
    }),
  )
}

const bytesOf = (addresses: readonly string[]): Buffer[] =>
  addresses.flatMap((address) => {
    const cidr = parseCidr(address)
    return cidr ? Buffer.from(cidr.ip) : []
  })

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
  goes: (owner: string) => boolean,
  addresses: readonly string[],
): Removal => {
  const going = claims(lists, goes)
  const candidates = [...new Set([...addresses, ...going.map(({ address }) => address)])]
  const others = claims(lists, (owner) => !goes(owner), candidates)
  const claimed = new Set(others.map(({ address }) => address))
  const free = new Set(candidates.filter((address) => !claimed.has(address)))
  const ips = bytesOf([...free])
  const unowned = rulesIn(lists, PERMITS).filter((listed) => {
    if (listed.owner !== undefined || !ips.some((ip) => listed.mentions(ip))) return false
    const address = listed.rule && permittedAddress(listed.rule)
    return address !== undefined && free.has(address)
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
  return removeClaims(lists, (other) => ownerKey(other) === key, addresses)
}

/** What goes of a network's attachments. @param valid owners that stay */
export const collectionOf = (lists: Lists, network: string, valid: readonly string[]): Removal => {
  const prefix = networkKey(network)
  const stay = new Set(valid.map(ownerKey))
  return removeClaims(lists, (owner) => networkKey(owner) === prefix && !stay.has(ownerKey(owner)), [])
}
