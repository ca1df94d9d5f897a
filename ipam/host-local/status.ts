import { accessSync, constants, existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { CniError, codes } from '../../cni/error.ts'
import { parseAddress } from '../address.ts'
import { ioError, isGone } from '../files.ts'
import { isAssignable, isEmptySet, type RangeSet, setContains, showSet } from '../ranges.ts'
import { readResolvConf } from '../resolv-conf.ts'
import { isLeftOver, list } from './scan.ts'

const notAvailable = (msg: string, details: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** @throws CniError code 50 where there is a resolv.conf to read, and it can't be read */
export const checkReadable = (resolvConf: string | undefined): void => {
  if (!resolvConf) return
  try {
    readResolvConf(resolvConf)
  } catch (error) {
    throw notAvailable(CniError.from(error).msg, 'it is named by ipam.resolvConf')
  }
}

/** @throws CniError code 50 where a directory can't be made or written in */
export const checkWritable = (dir: string): void => {
  let place = dir
  while (!existsSync(place) && dirname(place) !== place) place = dirname(place)
  try {
    // With the dot, to find out as well whether it is a directory.
    accessSync(`${place}/.`, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw notAvailable(ioError(error, place).msg, `reservations are kept in ${dir}`)
  }
}

/** @throws CniError code 50 where a range set has no free address */
export const checkFree = async (dir: string, sets: readonly RangeSet[]): Promise<void> => {
  let names: readonly string[] = []
  try {
    names = (await list(dir)).map(({ name }) => name)
  } catch (error) {
    if (!isGone(error)) throw ioError(error, dir)
    // Nobody has reserved anything yet.
    if (!sets.some(isEmptySet)) return
  }
  const { describePool } = await import('../ip-num.ts')
  for (const set of sets) {
    const pool = describePool(set)
    // Addresses are counted by their files, of which there are never many, though a range can have 2^64.
    if (pool.size > BigInt(names.length)) continue
    const used = names.filter((name) => {
      const address = parseAddress(name)
      return address !== null && setContains(set, address) && isAssigned(set, address.value)
    })
    if (pool.size <= BigInt(used.length) && !used.some((name) => isLeftOver(dir, name)))
      throw notAvailable(
        `no IP addresses available in range set: ${showSet(set)}`,
        `${pool.text}; ${pool.size === 0n ? 'widen the range' : `reservations are in ${dir}`}`,
      )
  }
}

/** Not the gateway of the range that it lies in: one that was requested before it was a gateway takes no room. */
const isAssigned = (set: RangeSet, value: bigint): boolean =>
  set.some((range) => value >= range.start && value <= range.end && isAssignable(range, value))
