import { onTestFinished } from 'vitest'
import type { Connection, ConnectionOptions } from '../../../netlink/connection.ts'
import { NETLINK_NETFILTER, Netns } from '../../../netlink/netns.ts'
import type { Space } from '../../support/space.ts'

/** A connection for nf_tables in a namespace, closed at the end of the test. */
export const connect = (space: Space, options: ConnectionOptions = {}): Connection => {
  const netns = Netns.open(space.path)
  const connection = netns.connect({ ...options, protocol: NETLINK_NETFILTER })
  netns.close()
  onTestFinished(() => connection.close())
  return connection
}
