/** What the bridge plugin makes again when somebody has emptied the host's rule sets. */

import { checkFailed, findLink, requirePrevResult } from '../shared/check.ts'
import { repairMasquerade } from '../shared/masquerade.ts'
import { ownAddresses } from '../shared/result.ts'
import { addSpoofCheck, checkSpoofCheck } from '../shared/spoof-check.ts'
import { peerOf } from '../shared/veth-removal.ts'
import type { BridgeAttachment } from './conf.ts'

const repairSpoofCheck = async (attachment: BridgeAttachment): Promise<readonly string[]> => {
  const { conf, container, hostNftables, containerId, ifName } = attachment
  if (!conf.macspoofchk) return []
  const inside = await findLink(container, ifName)
  const port = inside && (await peerOf(attachment, inside))
  if (!port) throw checkFailed(`interface ${ifName} has no peer on the host`)
  const check = { containerId, ifName, hostInterface: port.name, mac: inside.address }
  const missing = await checkSpoofCheck(hostNftables, check)
  if (missing.length > 0) await addSpoofCheck(hostNftables, check)
  return missing
}

/** Masquerade rules and the MAC spoof check. @returns what was missing, in words */
export const repair = async (attachment: BridgeAttachment): Promise<readonly string[]> => {
  const ips = ownAddresses(requirePrevResult(attachment), attachment)
  const addresses = ips.map(({ address }) => address)
  return [...(await repairMasquerade(attachment, addresses)), ...(await repairSpoofCheck(attachment))]
}
