/** The interface's own settings: looked at, changed, and given back. */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import { type Connection, isErrno, type Link, link, type Request, sameMac } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { changeMacWhileDown } from './mac.ts'

/** What may be asked of a link. Absent: left as it is. */
export interface LinkSettings {
  readonly mac?: string | undefined
  /** IFF_PROMISC. */
  readonly promisc?: boolean | undefined
  /** Bytes. */
  readonly mtu?: number | undefined
  /** IFF_ALLMULTI. */
  readonly allmulti?: boolean | undefined
  /** Packets. */
  readonly txQLen?: number | undefined
}

/** In the order in which they are set. */
const keys = ['mac', 'promisc', 'mtu', 'allmulti', 'txQLen'] as const
type Key = (typeof keys)[number]

/** How a link has them. */
const have = (found: Link): Required<LinkSettings> => ({
  mac: found.address || undefined,
  // What somebody asked for, as the kernel tells it here; a bridge or a packet socket makes it so without that.
  promisc: found.flags.promisc,
  mtu: found.mtu || undefined,
  allmulti: found.flags.allMulti,
  txQLen: found.txQueueLength,
})

/** Bytes: with less the kernel takes IPv6 from the interface; linux/ipv6.h. */
export const IPV6_MIN_MTU = 1280

/** Whether any is asked for. */
export const asksForAny = (settings: LinkSettings): boolean => keys.some((key) => settings[key] !== undefined)

/** How a link has those that are asked for. */
export const originalsOf = (found: Link, wanted: LinkSettings): LinkSettings => {
  const all = have(found)
  return Object.fromEntries(keys.filter((key) => wanted[key] !== undefined).map((key) => [key, all[key]]))
}

/** Those of the settings that a link has otherwise. */
export const differing = (found: Link, wanted: LinkSettings): Key[] => {
  const all = have(found)
  return keys.filter((key) => {
    const value = wanted[key]
    if (value === undefined) return false
    return typeof value === 'string' ? !sameMac(value, all.mac ?? '') : value !== all[key]
  })
}

const requestOf = (name: string, key: Key, settings: LinkSettings): Request<void> => {
  switch (key) {
    case 'mac':
      return link.set(name, { address: settings.mac })
    case 'promisc':
      return link.set(name, { promisc: settings.promisc })
    case 'mtu':
      return link.set(name, { mtu: settings.mtu })
    case 'allmulti':
      return link.set(name, { allMulti: settings.allmulti })
    case 'txQLen':
      return link.set(name, { txQueueLength: settings.txQLen })
  }
}

/** A setting that the kernel did not take. */
export interface Refusal {
  readonly key: Key
  readonly error: Error
}

/**
 * Sets what a link has otherwise, in one datagram. All are tried: the kernel does each on its own.
 * Equivalent: `ip link set NAME address MAC promisc on mtu N allmulticast on txqueuelen N`.
 * @returns what was refused
 * @throws SocketError when the exchange fails, and nobody knows what was done
 */
export const applySettings = async (
  container: Connection,
  found: Link,
  wanted: LinkSettings,
): Promise<Refusal[]> => {
  const { name } = found
  const changed = differing(found, wanted)
  if (changed.length === 0) return []
  const outcomes = await container.batch(changed.map((key) => requestOf(name, key, wanted)))
  const refusals: Refusal[] = []
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.ok) continue
    const key = changed[i]!
    let error: Error = outcome.error
    if (key === 'mac' && found.up && isErrno(error, 'EBUSY'))
      try {
        await changeMacWhileDown(container, found, wanted.mac!)
        continue
      } catch (failure) {
        error = failure as Error
      }
    refusals.push({ key, error })
  }
  return refusals
}

/**
 * The interface that is to be changed.
 * @throws CniError where there is none, code 7 where it can not have that MTU
 */
export const findInterface = async (
  container: Connection,
  name: string,
  { mtu }: LinkSettings,
): Promise<Link> => {
  const found = await findLink(container, name)
  if (!found)
    throw new CniError({
      code: codes.internal,
      msg: `failed to get ${JSON.stringify(name)}: Link not found`,
      details: 'the plugins before this one have to make it',
    })
  const { minMtu = 0, maxMtu } = found
  // A largest of 0 is none.
  const most = maxMtu || 0x7fff_ffff
  if (mtu !== undefined && (mtu < minMtu || mtu > most))
    throw invalidConfig(`invalid MTU ${mtu} of ${name}`, `it takes from ${minMtu} to ${most} bytes`)
  return found
}

/** What the kernel's refusal means. */
const reasonOf = ({ key, error }: Refusal, { kind }: Link): string | undefined => {
  if (key === 'mtu' && isErrno(error, 'EINVAL', 'ERANGE'))
    return 'it can not be more than that of the interface below'
  if (key !== 'mac') return undefined
  if (isErrno(error, 'EOPNOTSUPP'))
    return `an interface of its kind (${kind ?? 'hardware'}) takes no other MAC`
  if (isErrno(error, 'EADDRINUSE', 'EBUSY')) return 'another interface on the same lower one has it'
  return undefined
}

/** {@link applySettings} where each has to succeed. @throws CniError, SocketError */
export const setAll = async (container: Connection, found: Link, wanted: LinkSettings): Promise<void> => {
  const [refusal] = await applySettings(container, found, wanted)
  if (!refusal) return
  const details = reasonOf(refusal, found)
  if (details === undefined) throw refusal.error
  throw new CniError({ code: codes.internal, msg: refusal.error.message, details, cause: refusal.error })
}
