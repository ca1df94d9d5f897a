/** What CHECK looks at of attachments that are a veth pair: the host's end, forwarding, masquerade. Bridge and ptp. */
import type { Attachment } from '../../cni/plugin.ts'
import type { IpConfig, Result } from '../../cni/types.ts'
import type { Link } from '../../netlink/index.ts'
import { checkFailed, checkLink, findLink } from './check.ts'
import { notForwarding } from './forwarding.ts'
import { type MasqueradeConf, missingMasquerade } from './masquerade.ts'
import { peerOf } from './veth-removal.ts'

/**
 * The host's end of the pair: of the interfaces that the result lists on the host, the peer of the container's. The
 * others have to exist.
 * @param others names of those that were looked at already
 * @throws CniError
 */
export const checkHostEnd = async (
  attachment: Attachment<unknown>,
  result: Result,
  inside: Link,
  ...others: readonly string[]
): Promise<Link> => {
  const { host } = attachment
  const peer = await peerOf(attachment, inside)
  let end: Link | undefined
  for (const listed of result.interfaces ?? []) {
    if (listed.sandbox || others.includes(listed.name)) continue
    if (listed.name === peer?.name) end = await checkLink(host, listed, 'veth')
    else if (!(await findLink(host, listed.name)))
      throw checkFailed(`interface ${listed.name} of the result does not exist`)
  }
  if (!end) throw checkFailed(`the result lists no interface on the host that is the peer of ${inside.name}`)
  return end
}

/** @throws CniError where the host does not forward a family */
export const checkForwarding = ({ hostNetns }: Attachment<unknown>, families: Iterable<4 | 6>): void => {
  for (const family of notForwarding(hostNetns, families))
    throw checkFailed(`the host does not forward IPv${family}`)
}

/** @throws CniError where `ipMasq` is set and rules are missing */
export const checkMasquerading = async (
  attachment: Attachment<MasqueradeConf>,
  ips: readonly IpConfig[],
): Promise<void> => {
  if (!attachment.conf.ipMasq) return
  const [missing] = await missingMasquerade(
    attachment,
    ips.map(({ address }) => address),
  )
  if (missing) throw checkFailed(`IP masquerade: missing ${missing}`)
}
