/** When a removal gives its addresses back. */

import type { Ipam } from '../../cni/ipam.ts'
import type { Context } from '../../cni/plugin.ts'
import type { Failures } from './failures.ts'

/**
 * Removes interfaces and gives their addresses back, in the order that nobody is harmed by: an address may be somebody
 * else's as soon as IPAM has it back, so the interface goes first. Only a DHCP release has to be sent over it.
 * @param remove tries to remove them, and says whether they are gone; where they are not their addresses stay reserved
 * @param release IPAM's part, DEL or GC
 */
export const removeAndRelease = async (
  context: Pick<Context<unknown>, 'ipam'>,
  failures: Failures,
  remove: () => Promise<boolean>,
  release: (ipam: Ipam) => Promise<void>,
): Promise<void> => {
  const ipam = await failures.attempt(() => context.ipam)
  if (ipam?.needsInterface) await failures.attempt(() => release(ipam))
  const gone = await remove()
  if (ipam && !ipam.needsInterface && gone) await failures.attempt(() => release(ipam))
}
