/**
 * host-local: assigns addresses of this host's ranges and keeps them in files, one a reservation. The files are those of
 * the Go plugin (names.ts), so that both can work on one network at the same time.
 */
import { checkContainerId, checkIfName } from '../../cni/environment.ts'
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { type AttachmentId, allVersions, type IpConfig, type Result } from '../../cni/types.ts'
import { formatAddress, parseRequested } from '../address.ts'
import { Breather } from '../files.ts'
import { LockTable, stopped } from '../lock.ts'
import { type RangeSet, setContains } from '../ranges.ts'
import { readResolvConf } from '../resolv-conf.ts'
import { canonicalRoutes } from '../routes.ts'
import { allocate } from './allocate.ts'
import { type HostLocalConf, hostLocalConf, placesOf, rangeSetsOf } from './conf.ts'
import { isAddress, isOwner, oldOwnerOf, ownerOf, showOwner } from './names.ts'
import { type Requested, requestedAddresses } from './requested.ts'
import type { Reservations } from './reservations.ts'
import { checkFree, checkReadable, checkWritable } from './status.ts'
import { Store } from './store.ts'

export interface HostLocalOptions {
  /** Milliseconds to wait for the lock of a network. Default 10 000. */
  readonly lockTimeout?: number | undefined
}

/** They become names and contents of files: the doors have checked them, but a library's caller may not have. */
const checkId = ({ containerId, ifName }: AttachmentId): void => {
  checkContainerId(containerId)
  checkIfName(ifName)
}

/** The errors of work that went on in spite of them, as one. */
const all = (errors: readonly CniError[]): CniError =>
  new CniError({ code: errors[0]!.code, msg: errors.map(({ msg }) => msg).join(';'), cause: errors[0] })

/** host-local, with a memory of who waits for which lock: one of it is enough for a process. */
export const createHostLocal = ({ lockTimeout = 10_000 }: HostLocalOptions = {}) => {
  const locks = new LockTable(lockTimeout)
  const storeOf = (context: Context<HostLocalConf>, signal?: AbortSignal) =>
    new Store(locks, placesOf(context), context.log, signal)

  return definePlugin({
    type: 'host-local',
    kind: 'ipam',
    versions: allVersions,
    conf: hostLocalConf,

    async add(attachment): Promise<Result> {
      checkId(attachment)
      const { conf, signal, undo } = attachment
      const sets = rangeSetsOf(conf)
      const requested = requestedAddresses(attachment)
      const dns = conf.ipam?.resolvConf ? readResolvConf(conf.ipam.resolvConf) : undefined
      const owner = ownerOf(attachment)
      const made: string[] = []
      undo.push(`release addresses of ${showOwner(owner)}`, async () => {
        if (made.length === 0) return
        // Not to be stopped by what stopped the ADD.
        await storeOf(attachment).change(async (reservations) => release(reservations, owner, made))
      })
      const ips = await storeOf(attachment, signal).create((reservations) =>
        reserveAll(reservations, attachment, sets, requested, made),
      )
      const routes = canonicalRoutes(conf.ipam?.routes)
      return { ips, routes, dns }
    },

    async check(attachment): Promise<void> {
      checkId(attachment)
      const sets = rangeSetsOf(attachment.conf)
      requestedAddresses(attachment)
      const held = await storeOf(attachment, attachment.signal).look(async (reservations) => {
        const own = await reservations.heldBy(ownerOf(attachment))
        return own.length > 0
          ? { paths: own, old: false }
          : { paths: await reservations.heldBy(oldOwnerOf(attachment)), old: true }
      })
      if (!held || held.paths.length === 0) throw notFound(attachment, 'it has no reservation; ADD it anew')
      checkPrevResult(attachment, sets, held.paths, held.old)
    },

    async del(attachment): Promise<void> {
      checkId(attachment)
      await storeOf(attachment, attachment.signal).change(async (reservations) => {
        for (const owner of [ownerOf(attachment), oldOwnerOf(attachment)]) {
          const paths = await reservations.heldBy(owner)
          const errors = reservations.remove(owner, paths)
          if (errors.length > 0) throw all(errors)
          if (paths.length > 0) return
        }
      })
    },

    async status(context): Promise<void> {
      const sets = rangeSetsOf(context.conf)
      const { reservations } = placesOf(context)
      checkReadable(context.conf.ipam?.resolvConf)
      checkWritable(reservations)
      await checkFree(reservations, sets)
    },

    async gc(context, valid): Promise<void> {
      const keep = new Set(valid.flatMap((id) => [ownerOf(id), oldOwnerOf(id)]))
      await storeOf(context, context.signal).change(async (reservations) => {
        const errors: CniError[] = []
        const breather = new Breather()
        for (const [owner, paths] of [...(await reservations.scan()).owners]) {
          if (keep.has(owner) || !isOwner(owner)) continue
          // Directories in this one may be other networks'.
          errors.push(...reservations.remove(owner, paths.filter(isAddress)))
          if (breather.due) await breather.rest()
        }
        if (errors.length > 0) throw all(errors)
      })
    },
  })
}

/** One address of each set, or none at all. */
const reserveAll = async (
  reservations: Reservations,
  attachment: Attachment<HostLocalConf>,
  sets: readonly RangeSet[],
  requested: Requested[],
  made: string[],
): Promise<IpConfig[]> => {
  const { containerId, signal } = attachment
  const owner = ownerOf(attachment)
  const left = [...requested]
  const ips: IpConfig[] = []
  try {
    for (const [index, set] of sets.entries()) {
      if (signal.aborted) throw stopped(signal)
      const at = left.findIndex((address) => setContains(set, address))
      const [wanted] = at < 0 ? [] : left.splice(at, 1)
      try {
        const { address, range } = await allocate(reservations, {
          containerId,
          owner,
          set,
          index,
          requested: wanted,
          made: (address) => made.push(address),
        })
        ips.push({
          address: `${address}/${range.prefix}`,
          gateway: formatAddress(range.gateway.family, range.gateway.value),
        })
      } catch (error) {
        const { code, msg, details, cause } = CniError.from(error)
        throw new CniError({ code, msg: `failed to allocate for range ${index}: ${msg}`, details, cause })
      }
    }
    if (left.length > 0)
      throw invalidConfig(
        `failed to allocate all requested IPs: ${left.map(({ text }) => text).join(' ')}`,
        'each must lie in a range set of its own',
      )
    return ips
  } catch (error) {
    release(reservations, owner, made)
    throw error
  }
}

/** Takes back what this ADD has made, and no other reservation of the attachment. */
const release = (reservations: Reservations, owner: string, made: string[]): void => {
  const own = made.filter((address) => reservations.isHeldBy(address, owner))
  const errors = reservations.remove(owner, own)
  if (errors.length > 0) throw all(errors)
  made.length = 0
}

const notFound = ({ containerId }: AttachmentId, details: string): CniError =>
  new CniError({
    code: codes.internal,
    msg: `host-local: Failed to find address added by container ${containerId}`,
    details,
  })

/** The addresses of the result have to be the reserved ones. */
const checkPrevResult = (
  attachment: Attachment<HostLocalConf>,
  sets: readonly RangeSet[],
  paths: readonly string[],
  old: boolean,
): void => {
  const { prevResult } = attachment
  if (!prevResult) return
  const reserved = new Set(paths.map((path) => path.slice(path.lastIndexOf('/') + 1)))
  const found = new Set<string>()
  for (const { address: text } of prevResult.ips ?? []) {
    const address = parseRequested(text)
    if (!address) continue
    const name = formatAddress(address.family, address.value)
    found.add(name)
    if (!reserved.has(name) && sets.some((set) => setContains(set, address)))
      throw notFound(attachment, `${name} of prevResult is not reserved for it`)
  }
  // Old files do not tell the interfaces of a container from each other.
  if (old) return
  for (const name of reserved)
    if (isAddress(name) && !found.has(name))
      throw notFound(attachment, `${name} is reserved for it, but is not in prevResult`)
}

/** `host-local`: addresses from ranges, with the node's reservations in files. */
export const hostLocal = createHostLocal()
