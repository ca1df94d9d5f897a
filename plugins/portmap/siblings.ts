import type { Attachment } from '../../cni/plugin.ts'
import { address, isErrno, link } from '../../netlink/index.ts'

/**
 * The addresses of the container's other interfaces. Attachments of a container to one network share a chain of
 * iptables, whose rules say no interface: whose they are is told by where they lead. None where the container is gone.
 */
export const siblingAddresses = async ({
  container,
  netns,
  ifName,
}: Attachment<unknown>): Promise<ReadonlySet<string>> => {
  if (!netns) return new Set()
  const [links, addresses] = [await container.run(link.list()), await container.run(address.list())]
  const own = links.find(({ name }) => name === ifName)?.index
  return new Set(addresses.flatMap(({ ip, index, scope }) => (index === own || scope === 'host' ? [] : [ip])))
}

/** The same where it is all about removing: a namespace that can't be asked any more has no other attachments. */
export const siblingAddressesIfAny = async (
  attachment: Attachment<unknown>,
): Promise<ReadonlySet<string>> => {
  try {
    return await siblingAddresses(attachment)
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENODEV', 'ENONET')) attachment.log.warn((error as Error).message)
    return new Set()
  }
}
