import type { Connection } from '../netlink/connection.ts'
import { during } from '../netlink/error.ts'
import { LinkDeleter } from '../netlink/link-deleter.ts'
import { NETLINK_NETFILTER, Netns } from '../netlink/netns.ts'
import type { Host } from './session.ts'

/** A host for many operations. */
export interface OpenHost extends Host, Disposable {
  /** Ends its connections. Safe to repeat. */
  close(): void
}

/**
 * A host whose connections stay open over many operations: `using host = openHost({ plugins })`. Besides opening them
 * each time it saves the kernel's clean-up after the last user of a rule set: closing an nf_tables socket waits for
 * the rules that were deleted before (some milliseconds, Linux 6.18).
 */
export const openHost = (options: Host): OpenHost => {
  const netns = options.hostNetns ?? Netns.current()
  const opened: Connection[] = []
  const connect = (protocol?: number): Connection => {
    try {
      const connection = netns.connect({ protocol, sync: options.sync })
      opened.push(connection)
      return connection
    } catch (error) {
      throw during("open a netlink socket in the host's network namespace", error)
    }
  }
  let rtnetlink: Connection | undefined
  let nftables: Connection | undefined
  let links: LinkDeleter | undefined
  const close = (): void => {
    for (const connection of opened) connection.close()
  }
  return {
    ...options,
    connections: {
      get rtnetlink() {
        rtnetlink ??= connect()
        return rtnetlink
      },
      get nftables() {
        nftables ??= connect(NETLINK_NETFILTER)
        return nftables
      },
      get links() {
        links ??= new LinkDeleter(this.rtnetlink)
        return links
      },
    },
    close,
    [Symbol.dispose]: close,
  }
}
