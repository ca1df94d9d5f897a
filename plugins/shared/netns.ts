import type { Attachment } from '../../cni/plugin.ts'
import type { Netns } from '../../netlink/index.ts'

/**
 * The container's namespace. Read it before anything is touched: where the kernel is given none, it takes the host's.
 * @throws CniError code 8 when it is gone
 */
export const containerNetns = (attachment: Attachment<unknown>): Netns => {
  // Opening the connection is what throws.
  const { container: _open, netns } = attachment
  return netns!
}
