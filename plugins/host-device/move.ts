/** A device's way into the container. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { apply } from '../../cni/undo.ts'
import { isErrno, type Link, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { containerNetns } from '../shared/netns.ts'
import { belongingsOf, giveBack } from './before.ts'
import { type Notes, noteOf } from './notes.ts'

const explain = (error: unknown, { name }: Link, ifName: string): unknown => {
  const details: Readonly<Record<string, string>> = {
    EEXIST: `the container has an interface ${ifName}, or one of ${name}'s alternative names, already`,
    ENODEV: `${name} has just gone: another attachment may have taken it`,
    EINVAL: `${name} is bound to its namespace (look at "netns-immutable" or "netns-local" in ip -d link, ethtool -k)`,
  }
  const code = Object.keys(details).find((one) => isErrno(error, one))
  if (code === undefined || !(error instanceof Error)) return error
  return new CniError({
    code: codes.internal,
    msg: `failed to move link ${error.message}`,
    details: details[code],
    cause: error,
  })
}

/**
 * Moves a device into the container, where it has CNI_IFNAME and is down. Both messages go in one datagram, which a
 * killed process has sent whole or not at all. The alias goes first: where CNI_IFNAME is taken the kernel leaves the
 * device in the container under its old name (the new one is tried after the move, see do_setlink), and DEL has to know
 * it. Equivalent: `ip link set DEV alias DEV; ip link set DEV netns NS name eth0`.
 * @param home brings it back and removes its note; the move may succeed and be an error
 * @returns the device in the container
 * @throws CniError, NetlinkError
 */
export const moveIn = async (
  attachment: Attachment<unknown>,
  found: Link,
  notes: Notes,
  home: () => Promise<number | undefined>,
): Promise<Link> => {
  const { network, netnsPath, ifName, host, container, undo } = attachment
  const netns = containerNetns(attachment)
  if (await findLink(container, ifName))
    throw new CniError({
      code: codes.internal,
      msg: `failed to move link: the container has an interface ${ifName} already`,
      details: 'CNI_IFNAME has to name a new one',
    })
  const had = await belongingsOf(attachment, found)
  const { index, name } = found
  notes.write(noteOf(network, attachment, netnsPath, found))
  undo.push(`bring ${name} back`, async () => {
    const back = await home()
    if (back !== undefined) await giveBack(attachment, back, had)
  })
  try {
    await apply(host, undo, [
      { request: link.set(index, { alias: name }) },
      { request: link.set(index, { netns, name: ifName }) },
    ])
  } catch (error) {
    // It was gone before: whoever has it now brings it home.
    if (isErrno(error, 'ENODEV')) notes.remove(network, attachment)
    throw explain(error, found, ifName)
  }
  return await container.run(link.get(ifName))
}
