/** Finding the address that an attachment gets of one range set. */
import { CniError, codes } from '../../cni/error.ts'
import { formatAddress, parseAddress } from '../address.ts'
import { Breather } from '../files.ts'
import {
  contains,
  isAssignable,
  type Range,
  type RangeSet,
  roundRobin,
  setContains,
  showSet,
} from '../ranges.ts'
import { type Owner, oldOwnerOf } from './names.ts'
import type { Requested } from './requested.ts'
import type { Reservations } from './reservations.ts'

/** A reservation that was made. */
export interface Allocated {
  readonly address: string
  readonly range: Range
}

export interface Wanted {
  readonly containerId: string
  readonly owner: Owner
  readonly set: RangeSet
  /** The set's number. */
  readonly index: number
  /** One of the set's own addresses, or undefined for the next free one. */
  readonly requested: Requested | undefined
  /** Told of a reservation as soon as it stands. */
  made(address: string): void
}

/** Addresses tried one by one. Where all are taken, listing the directory is the quicker way to go on. */
const TRIES = 16

const failed = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.internal, msg, details })

/** Reserves an address. @throws CniError */
export const allocate = async (reservations: Reservations, wanted: Wanted): Promise<Allocated> => {
  const { requested, set, index } = wanted
  const before = reservations.last(index)
  const allocated = requested
    ? await takeRequested(reservations, wanted, requested)
    : await takeNext(reservations, wanted, before)
  if (!allocated) {
    const { describePool } = await import('../ip-num.ts')
    const { size, text } = describePool(set)
    throw failed(
      `no IP addresses available in range set: ${showSet(set)}`,
      size === 0n
        ? `${text}; widen the range`
        : `all are reserved (${text}); widen the range, or run GC if containers have gone without DEL`,
    )
  }
  reservations.setLast(index, allocated.address, before)
  return allocated
}

const takeRequested = async (
  reservations: Reservations,
  { owner, set, made }: Wanted,
  requested: Requested,
): Promise<Allocated> => {
  const { text } = requested
  const range = set.find((range) => contains(range, requested))!
  if (!isAssignable(range, requested.value))
    throw new CniError({ code: codes.invalidConfig, msg: `requested ip ${text} is subnet's gateway` })
  const allocated = await reservations.reserve(owner, (take) => {
    if (!take(text)) return null
    made(text)
    return { address: text, range }
  })
  if (!allocated) throw failed(`requested IP address ${text} is not available in range set ${showSet(set)}`)
  return allocated
}

const takeNext = async (
  reservations: Reservations,
  wanted: Wanted,
  before: string,
): Promise<Allocated | null> => {
  await refuseSecond(reservations, wanted)
  const first = await searchNext(reservations, wanted, before)
  if (first || reservations.seen) return first
  // Reading all of them finds those that are reserved for nobody.
  await reservations.scan()
  return await searchNext(reservations, wanted, before)
}

const searchNext = (
  reservations: Reservations,
  { owner, set, made }: Wanted,
  before: string,
): Promise<Allocated | null> =>
  reservations.reserve(owner, async (take) => {
    const breather = new Breather()
    let used: ReadonlySet<string> | undefined = reservations.seen?.names
    let taken = 0
    for (const { range, from, to } of roundRobin(set, parseAddress(before)))
      for (let value = from; value <= to; value++) {
        if (!isAssignable(range, value)) continue
        const address = formatAddress(range.family, value)
        if (!used?.has(address) && take(address)) {
          made(address)
          return { address, range }
        }
        // Every turn of this loop is a reservation that exists: it ends, however many addresses a range has.
        if (++taken === TRIES) used ??= await reservations.names()
        if (taken % 256 === 0 && breather.due) await breather.rest()
      }
    return null
  })

/** An attachment gets one address of a set: a second ADD without a DEL is the runtime's mistake. */
const refuseSecond = async (
  reservations: Reservations,
  { containerId, owner, set }: Wanted,
): Promise<void> => {
  const held = [
    ...(await reservations.heldBy(owner)),
    ...(await reservations.heldBy(oldOwnerOf({ containerId }))),
  ].sort()
  for (const path of held) {
    const address = parseAddress(path.slice(path.lastIndexOf('/') + 1))
    if (address && setContains(set, address))
      throw failed(
        `${formatAddress(address.family, address.value)} has been allocated to ${containerId}, duplicate allocation is not allowed`,
        'DEL of the attachment gives it back',
      )
  }
}
