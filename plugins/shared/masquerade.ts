/** IP masquerade: the choice of a backend, and the four verbs over both. */
import * as z from 'zod/mini'
import { CniError } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import { rule } from '../../cni/schema.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { nftables } from '../../netlink/index.ts'
import { addIptablesMasquerade, missingIptablesMasquerade } from './masquerade-iptables.ts'
import { cleanIptablesMasquerade, gcIptablesMasquerade } from './masquerade-iptables-cleanup.ts'
import { addMasquerade, checkMasquerade, deleteMasquerade, gcMasquerade } from './masquerade-nftables.ts'

/** The key `ipMasqBackend`. Default: nftables where the kernel has it, else iptables. */
export const masqueradeBackend = z.optional(
  z.string().check(
    rule(
      (value) => value === 'nftables' || value === 'iptables',
      (value) => `unknown ipmasq backend ${JSON.stringify(value)}`,
    ),
  ),
)

interface WithBackend {
  readonly ipMasqBackend?: string | undefined
}

const owner = ({ network, containerId, ifName }: Attachment<unknown>, addresses: readonly string[]) => ({
  network,
  containerId,
  ifName,
  addresses,
})

const usesIptables = async ({ conf, hostNetns }: Context<WithBackend>): Promise<boolean> =>
  conf.ipMasqBackend === 'iptables' ||
  (conf.ipMasqBackend === undefined && !(await nftables.usable(hostNetns)))

/**
 * Hides the container's addresses behind the host's own for what leaves their subnet; multicast excepted.
 * @param addresses `address/prefix` of the container
 * @throws CniError
 */
export const setUpMasquerade = async (
  attachment: Attachment<WithBackend>,
  addresses: readonly string[],
): Promise<void> => {
  const { conf, undo, hostNftables, exec } = attachment
  const masquerade = owner(attachment, addresses)
  undo.push('remove the masquerade rules', () => tearDownMasquerade(attachment, addresses))
  if (conf.ipMasqBackend === 'iptables') return addIptablesMasquerade(exec, masquerade)
  try {
    await addMasquerade(hostNftables, masquerade)
  } catch (error) {
    // Asking the kernel beforehand would cost every ADD what only a few hosts need.
    if (!(await usesIptables(attachment))) throw CniError.from(error, 'failed to set up IP masquerade: ')
    await addIptablesMasquerade(exec, masquerade)
  }
}

/**
 * Removes the rules of an attachment in both backends: the configuration may have changed since, or another
 * implementation may have made them.
 * @param addresses of the container, as far as they are known; without any, all its iptables rules in the network go
 */
export const tearDownMasquerade = async (
  attachment: Attachment<unknown>,
  addresses: readonly string[],
): Promise<void> => {
  const masquerade = owner(attachment, addresses)
  const outcomes = await Promise.allSettled([
    deleteMasquerade(attachment.hostNftables, masquerade),
    cleanIptablesMasquerade(attachment, masquerade),
  ])
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as Error] : [],
  )
  if (errors.length > 0)
    throw new CniError({
      code: 999,
      msg: `failed to remove IP masquerade: ${errors.map(({ message }) => message).join('; ')}`,
      cause: errors[0],
    })
}

/** What is missing of it, in words. */
export const missingMasquerade = async (
  attachment: Attachment<WithBackend>,
  addresses: readonly string[],
): Promise<string[]> => {
  const masquerade = owner(attachment, addresses)
  return (await usesIptables(attachment))
    ? missingIptablesMasquerade(attachment.exec, masquerade)
    : checkMasquerade(attachment.hostNftables, masquerade)
}

/** Removes the rules of a network's attachments that are not in the list, in both backends. */
export const collectMasquerade = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  await gcMasquerade(context.hostNftables, context.network, valid)
  await gcIptablesMasquerade(context, context.network, new Set(valid.map(({ containerId }) => containerId)))
}
