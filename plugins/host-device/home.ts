/** A device's way back to the host, from wherever an attachment has left it. Safe to repeat. */
import { CniError, codes } from '../../cni/error.ts'
import {
  type Connection,
  isErrno,
  type Link,
  link,
  monitor,
  type Netns,
  sameMac,
} from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { draw } from '../shared/identity.ts'
import type { Note } from './notes.ts'

/** Where the device is looked for, and how it is known. */
export interface Search {
  readonly host: Connection
  readonly hostNetns: Netns
  /** Null where the namespace is gone. */
  readonly container: Connection | null
  /** What it was like; null where only its alias tells. */
  readonly note: Note | null
  inContainer(links: readonly Link[]): Link | undefined
  onHost(links: readonly Link[]): Link | undefined
  /** The name that it had on the host. */
  nameOf(found: Link): string
  /** Whether it is somewhere, and may still come home by itself, where it is neither in the container nor on the host. */
  isAway(): boolean
  /** Milliseconds to wait for that. */
  readonly patience: number
  readonly signal: AbortSignal | undefined
}

/** A name for a device whose own is taken, like those that the kernel gives. */
const spareName = (): string => `dev${draw(4).toString('hex')}`

/**
 * Moves a device out with one message. The kernel takes the new name on the way only where the device's present one is
 * taken, and otherwise tries it after the move, which stays when that fails: so the alias holds its name until it has it
 * again. A device whose name is taken comes, too, for it may not outlive the container's namespace. Equivalent: `ip link
 * set DEV netns HOST name OLD alias ''`.
 * @returns the name it has on the host
 */
const moveOut = async (
  { host, hostNetns, note }: Search,
  container: Connection,
  found: Link,
  name: string,
): Promise<string> => {
  const isTaken = (await findLink(host, name)) !== null
  const { index } = found
  const back = isTaken
    ? { netns: hostNetns, name: spareName() }
    : { netns: hostNetns, name, alias: note?.device.alias ?? '' }
  // Somebody may have changed it in the container.
  if (found.alias !== name) await container.run(link.set(index, { alias: name }))
  await container.run(link.set(index, back))
  return back.name
}

/** What was changed in the container or by the way, as it was. Some drivers want the device down for it, which it is. */
const differing = ({ device }: Note, found: Link): link.SetOptions => ({
  address: device.mac !== '' && !sameMac(device.mac, found.address) ? device.mac : undefined,
  mtu: device.mtu === found.mtu ? undefined : device.mtu,
  alias: device.alias === (found.alias ?? '') ? undefined : device.alias,
})

/** Gives a device on the host its name and the rest. @throws CniError code 11 where its name is taken */
const settle = async ({ host, note, nameOf }: Search, found: Link): Promise<void> => {
  const { index } = found
  const name = nameOf(found)
  if (found.name !== name) {
    try {
      // Linux before 6.2 renames only what is down.
      if (found.up) await host.run(link.set(index, { up: false }))
      await host.run(link.set(index, { name, alias: note?.device.alias ?? '' }))
    } catch (error) {
      if (!isErrno(error, 'EEXIST')) throw error
      throw new CniError({
        code: codes.tryAgainLater,
        msg: `the device is on the host as ${found.name}: its name ${name} is taken there`,
        details: `rename what is called ${name} now, and repeat: DEL gives the device its name back`,
        cause: error,
      })
    }
  }
  if (!note) return
  const { address, mtu, alias } = differing(note, {
    ...found,
    alias: found.name === name ? found.alias : note.device.alias,
  })
  if (address !== undefined || mtu !== undefined || alias !== undefined)
    await host.run(link.set(index, { address, mtu, alias }))
  if (note.device.up && (!found.up || found.name !== name)) await host.run(link.set(index, { up: true }))
}

/**
 * Waits for a device that comes home by itself: the kernel gives back what is in a namespace some time after the last
 * process there has ended (cleanup_net).
 * @throws CniError code 11 where it does not come: it may not be forgotten
 */
const comesBack = async ({ host, hostNetns, onHost, note, patience, signal }: Search): Promise<Link> => {
  const end = performance.now() + patience
  const events = monitor(hostNetns, { groups: ['link'] })
  try {
    for (;;) {
      const found = onHost(await host.run(link.list()))
      if (found) return found
      const left = end - performance.now()
      if (left <= 0 || !(await events.take({ timeout: left, signal }))) break
    }
  } finally {
    events.close()
  }
  throw new CniError({
    code: codes.tryAgainLater,
    msg: `${note?.device.name} is in a network namespace that can not be reached`,
    details: 'it comes to the host when the last process in there has ended: end it, and repeat',
  })
}

/**
 * Brings the device home. It is no error that there is none (any more).
 * @returns its index on the host; undefined where it is nowhere
 * @throws CniError, NetlinkError
 */
export const bringHome = async (search: Search): Promise<number | undefined> => {
  const { host, container, nameOf, isAway } = search
  const inside = container ? search.inContainer(await container.run(link.list())) : undefined
  let failure: unknown
  let arrived: Link | null = null
  if (container && inside) {
    try {
      const name = await moveOut(search, container, inside, nameOf(inside))
      arrived = await findLink(host, name)
    } catch (error) {
      // It may have come nevertheless: a name is minded after the move.
      failure = error
    }
  }
  arrived ??= search.onHost(await host.run(link.list())) ?? null
  if (!arrived && failure) throw failure
  if (!arrived && isAway()) arrived = await comesBack(search)
  if (arrived) await settle(search, arrived)
  return arrived?.index
}
