/** IP masquerade: the choice of a backend, and the four verbs over both. */
import * as z from 'zod/mini'
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import { rule } from '../../cni/schema.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { formatIp, isErrno, network as networkOf, nftables, parseCidr } from '../../netlink/index.ts'
import { addIptablesMasquerade, missingIptablesMasquerade } from './masquerade-iptables.ts'
import { cleanIptablesMasquerade, gcIptablesMasquerade, type IsOurs } from './masquerade-iptables-cleanup.ts'
import { addMasquerade, checkMasquerade, deleteMasquerade, gcMasquerade } from './masquerade-nftables.ts'
import { nftablesOf } from './nftables.ts'

export type { IsOurs } from './masquerade-iptables-cleanup.ts'

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

/** The keys of masquerade. */
export interface MasqueradeConf extends WithBackend {
  readonly ipMasq: boolean
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
  const { conf, undo, exec } = attachment
  const masquerade = owner(attachment, addresses)
  undo.push('remove the masquerade rules', () => tearDownMasquerade(attachment, fromAddresses(addresses)))
  if (conf.ipMasqBackend === 'iptables') return addIptablesMasquerade(exec, masquerade)
  try {
    await addMasquerade(attachment.hostNftables, masquerade)
  } catch (error) {
    // Asking the kernel beforehand would cost every ADD what only a few hosts need.
    if (!nftables.isUnsupported(error) || !(await usesIptables(attachment)))
      throw CniError.from(error, 'failed to set up IP masquerade: ')
    await addIptablesMasquerade(exec, masquerade)
  }
}

/**
 * Removes the rules of an attachment in both backends: the configuration may have changed since, or another
 * implementation may have made them. Those of iptables say which container they belong to, but not which interface.
 * @param isOurs whether a source address that the container's iptables rules name is this attachment's
 */
export const tearDownMasquerade = async (attachment: Attachment<unknown>, isOurs: IsOurs): Promise<void> => {
  const { network, containerId, ifName } = attachment
  const outcomes = await Promise.allSettled([
    (async () => {
      const nft = nftablesOf(attachment)
      if (nft) await deleteMasquerade(nft, { network, containerId, ifName })
    })(),
    cleanIptablesMasquerade(attachment, { network, containerId }, isOurs),
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

/** The {@link IsOurs} of known addresses. Very old plugins made rules for the whole subnet. */
export const fromAddresses = (addresses: readonly string[]): IsOurs => {
  const sources = new Set<string | undefined>()
  for (const parsed of addresses.map(parseCidr))
    if (parsed) sources.add(formatIp(parsed.ip)).add(formatIp(networkOf(parsed)))
  return (source) => sources.has(source)
}

/**
 * What is missing of it, in words; nothing: an empty list. Either backend will do, whichever the configuration names by
 * now: the attachment may be older than it, or another implementation's.
 */
export const missingMasquerade = async (
  attachment: Attachment<WithBackend>,
  addresses: readonly string[],
): Promise<string[]> => {
  const masquerade = owner(attachment, addresses)
  const look = async (find: () => Promise<string[]>): Promise<string[]> => {
    try {
      return await find()
    } catch (error) {
      // Where there is no program, or no such thing in the kernel, nothing can be there.
      if (isErrno(error, 'ENOENT', 'EOPNOTSUPP', 'EPROTONOSUPPORT', 'EINVAL'))
        return [(error as Error).message]
      throw error
    }
  }
  const inNftables = () => look(() => checkMasquerade(attachment.hostNftables, masquerade))
  const inIptables = () => look(() => missingIptablesMasquerade(attachment.exec, masquerade))
  const [first, second] = (await usesIptables(attachment))
    ? [inIptables, inNftables]
    : [inNftables, inIptables]
  const missing = await first()
  return missing.length === 0 || (await second()).length === 0 ? [] : missing
}

/**
 * Makes the rules again where some are missing.
 * @returns what was missing, in words
 * @throws CniError
 */
export const repairMasquerade = async (
  attachment: Attachment<MasqueradeConf>,
  addresses: readonly string[],
): Promise<readonly string[]> => {
  if (!attachment.conf.ipMasq) return []
  const missing = await missingMasquerade(attachment, addresses)
  if (missing.length > 0) await setUpMasquerade(attachment, addresses)
  return missing
}

/** Removes the rules of a network's attachments that are not in the list, in both backends. */
export const collectMasquerade = async (
  context: Context<unknown>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const nft = nftablesOf(context)
  if (nft) await gcMasquerade(nft, context.network, valid)
  await gcIptablesMasquerade(context, context.network, new Set(valid.map(({ containerId }) => containerId)))
}

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** Whether `ipMasq`, where it is set, could be done. @throws CniError code 50 */
export const masqueradeStatus = async ({
  conf: { ipMasq, ipMasqBackend },
  hostNetns,
  exec,
}: Context<MasqueradeConf>): Promise<void> => {
  if (!ipMasq) return
  const hasNftables = ipMasqBackend !== 'iptables' && (await nftables.usable(hostNetns))
  if (ipMasqBackend === 'nftables' && !hasNftables)
    throw notAvailable('ipMasqBackend is "nftables", but this kernel has no nf_tables')
  if (hasNftables) return
  const { status, stderr } = await exec('iptables', ['--version']).catch((error: Error) => ({
    status: 127,
    stderr: error.message,
  }))
  if (status !== 0) throw notAvailable('ipMasq needs iptables, which can not be run', stderr.trim())
}
