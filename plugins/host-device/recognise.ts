/** Which link is the attachment's device, wherever it is and whatever its name is now. */
import { isLinkName, type Link, sameMac } from '../../netlink/index.ts'
import type { Note } from './notes.ts'

/** Whether it can be the noted device: by what nobody can change. */
const isSameBody = ({ device }: Note, found: Link): boolean =>
  found.kind === device.kind &&
  found.parentDevice === device.parent &&
  (device.permanentAddress === undefined || sameMac(device.permanentAddress, found.permanentAddress ?? ''))

/** Whether its hardware, and not only its kind, makes it unmistakable. */
const isHardware = ({ device }: Note): boolean => device.permanentAddress !== undefined

/** The noted device among links of the container, as the more telling sign has it: alias, MAC, hardware. */
export const notedInContainer = (note: Note, links: readonly Link[]): Link | undefined => {
  const { device } = note
  const bodies = links.filter((found) => isSameBody(note, found))
  return (
    bodies.find((found) => found.alias === device.name && sameMac(device.mac, found.address)) ??
    bodies.find((found) => found.alias === device.name) ??
    // Where its new name was taken it has arrived under its old one.
    bodies.find((found) => sameMac(device.mac, found.address)) ??
    (isHardware(note) ? bodies[0] : undefined)
  )
}

/**
 * Names under which a device has come back whose own was taken: the one it had in the container, or one of the kernel's
 * (default_device_exit_net) or of ours.
 */
const isFallback = (name: string, ifName: string): boolean => name === ifName || /^dev[0-9a-f]+$/.test(name)

/**
 * The noted device among links of the host: it never left, is back under its name, or has come back under another (with
 * the container's namespace, or because its name was taken).
 */
export const notedOnHost = (note: Note, links: readonly Link[]): Link | undefined => {
  const { device } = note
  const bodies = links.filter((found) => isSameBody(note, found))
  return (
    bodies.find(
      (found) =>
        found.alias === device.name &&
        found.name !== device.name &&
        (isHardware(note) || sameMac(device.mac, found.address) || isFallback(found.name, note.ifName)),
    ) ??
    bodies.find(
      (found) => found.name === device.name && (isHardware(note) || sameMac(device.mac, found.address)),
    )
  )
}

/** The name that an alias, as host-device leaves it, gives a device back. */
export const nameInAlias = ({ alias = '' }: Link): string | undefined =>
  alias !== '' && isLinkName(alias) ? alias : undefined

/** What is known of an attachment without a note. */
export interface Signs {
  readonly ifName: string
  /** Of the result of ADD. */
  readonly mac: string | undefined
  /** Whether it is what the configuration names. */
  isNamed(found: Link): boolean
}

/** A device that the Go plugin has moved, in the container: an alias alone may be anybody's remark. */
export const aliasedInContainer = (signs: Signs, links: readonly Link[]): Link | undefined => {
  const { ifName, mac, isNamed } = signs
  const aliased = links.filter((found) => nameInAlias(found) !== undefined)
  const isListed = (found: Link): boolean => mac !== undefined && sameMac(mac, found.address)
  const known = aliased.filter((found) => isListed(found) || isNamed(found))
  return known.find(({ name }) => name === ifName) ?? known[0]
}

/** The same on the host, where the kernel has put it when the container's namespace went. */
export const aliasedOnHost = (signs: Signs, links: readonly Link[]): Link | undefined => {
  const { ifName, mac, isNamed } = signs
  return links.find((found) => {
    const old = nameInAlias(found)
    if (old === undefined || old === found.name || links.some(({ name }) => name === old)) return false
    if (!isFallback(found.name, ifName)) return false
    return isNamed(found) && (mac === undefined || sameMac(mac, found.address))
  })
}
