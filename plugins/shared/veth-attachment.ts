/** DEL and GC of attachments that are a veth pair, masqueraded or not. Bridge and ptp. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { address } from '../../netlink/index.ts'
import { Failures } from './failures.ts'
import { collectMasquerade, fromAddresses, type IsOurs, tearDownMasquerade } from './masquerade.ts'
import { removeAndRelease } from './release.ts'
import { ownAddresses } from './result.ts'
import { collectVeths, type FoundVeth, findVeth, removeVeth } from './veth-removal.ts'

/**
 * Tells the attachment's own addresses from those of another one of the same container: by the result of ADD, or, where
 * there is none, by what the container's other interfaces have.
 */
const isOwnSource = async (attachment: Attachment<unknown>, inside: number | undefined): Promise<IsOurs> => {
  const { prevResult, netns } = attachment
  const listed = prevResult ? ownAddresses(prevResult, attachment) : []
  if (listed.length > 0) return fromAddresses(listed.map((ip) => ip.address))
  if (!netns) return () => true
  const present = await attachment.container.run(address.list())
  const others = fromAddresses(present.filter(({ index }) => index !== inside).map((one) => one.address))
  return (source) => !others(source)
}

/**
 * Removes an attachment. Rules are found by their owner, whatever the configuration says by now.
 * @param master name of what the host's end is plugged into; null: nothing
 * @param more what else the plugin has made
 * @throws CniError after everything was tried
 */
export const removeAttachment = async (
  attachment: Attachment<unknown>,
  master: string | null,
  more?: (found: FoundVeth | undefined) => Promise<void>,
): Promise<void> => {
  const failures = new Failures()
  const remove = async (): Promise<boolean> => {
    const found = await failures.attempt(() => findVeth(attachment, master))
    const isOurs = await failures.attempt(() => isOwnSource(attachment, found?.inside))
    const [gone] = await Promise.all([
      found ? failures.succeeds(() => removeVeth(attachment, found)) : false,
      failures.attempt(() => more?.(found)),
      failures.attempt(() => tearDownMasquerade(attachment, isOurs ?? (() => false))),
    ])
    return gone
  }
  await removeAndRelease(attachment, failures, remove, (ipam) => ipam.del())
  failures.raise()
}

/**
 * Removes what belongs to attachments of the network that are not in the list.
 * @param more what else the plugin has made, when the pairs have gone
 * @throws CniError after everything was tried
 */
export const collectAttachments = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
  ...more: readonly (() => Promise<void>)[]
): Promise<void> => {
  const failures = new Failures()
  const remove = () => failures.succeeds(() => collectVeths(context, valid))
  await removeAndRelease(context, failures, remove, (ipam) => ipam.gc(valid))
  for (const one of more) await failures.attempt(one)
  await failures.attempt(() => collectMasquerade(context, valid))
  failures.raise()
}
