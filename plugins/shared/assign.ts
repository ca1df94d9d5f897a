import { CniError, codes } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'

/**
 * What IPAM assigns; null where the configuration names none. It is undone when the interface is, as release.ts has it.
 * @throws CniError where that is nothing
 */
export const assign = async ({ ipam, undo }: Attachment<unknown>): Promise<Result | null> => {
  if (!ipam) return null
  const assigned = ipam.needsInterface ? await ipam.add() : await undo.beneath(() => ipam.add())
  if ((assigned.ips ?? []).length === 0)
    throw new CniError({ code: codes.internal, msg: 'IPAM plugin returned missing IP config' })
  return assigned
}

/** The MTU of the container's interface, where who assigns its addresses has set another one (DHCP does). */
export const assignedMtu = ({ ifName }: Attachment<unknown>, assigned: Result | null): number | undefined =>
  assigned?.interfaces?.find(({ name, sandbox }) => name === ifName && sandbox)?.mtu
