/** The choice of a backend, and the verbs over both. */
import { CniError, codes } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { nftables } from '../../netlink/index.ts'
import { Failures } from '../shared/failures.ts'
import { parseConditions } from './conditions.ts'
import { type Backend, backendOf, type PortmapConf } from './conf.ts'
import type { Forwarding, PortMapping } from './forwarding.ts'
import { addIptables, missingIptables } from './iptables.ts'
import { deleteIptables, gcIptables } from './iptables-cleanup.ts'
import { addNftables, deleteNftables, gcNftables, missingNftables } from './nftables.ts'

type PortmapAttachment = Attachment<PortmapConf>

const useIptables = async (attachment: PortmapAttachment, forwarding: Forwarding): Promise<void> => {
  attachment.undo.push('remove the port mappings of iptables', () => deleteIptables(attachment))
  await addIptables(attachment, forwarding)
}

/**
 * Maps the ports: with nf_tables where nothing else is asked for and the kernel has it. What the attachment has in the
 * other backend, of another configuration or another implementation, goes: packets would meet it as well.
 * @param takeOver whether a port that another attachment has in nf_tables becomes this one's
 * @throws CniError
 */
export const forward = async (
  attachment: PortmapAttachment,
  forwarding: Forwarding,
  takeOver: boolean,
): Promise<void> => {
  const asked = backendOf(attachment.conf)
  try {
    if (asked === 'iptables') {
      await useIptables(attachment, forwarding)
      await deleteNftables(attachment, forwarding)
      return
    }
    try {
      await addNftables(attachment, forwarding, { takeOver })
      await deleteIptables(attachment)
    } catch (error) {
      // Asking the kernel beforehand would cost every ADD what only a few hosts need.
      const final = asked !== undefined || error instanceof CniError || !nftables.isUnsupported(error)
      if (final || (await nftables.usable(attachment.hostNetns))) throw error
      await useIptables(attachment, forwarding)
    }
  } catch (error) {
    throw CniError.from(error, 'failed to map ports: ')
  }
}

/**
 * Removes an attachment's mappings in both backends. What fails is told once all was tried.
 * @returns those that nf_tables had, some twice
 */
export const unforward = async (
  attachment: Attachment<unknown>,
  failures: Failures,
): Promise<readonly PortMapping[]> => {
  const { network, containerId, ifName } = attachment
  const removed = await failures.attempt(() => deleteNftables(attachment, { network, containerId, ifName }))
  await failures.attempt(() => deleteIptables(attachment))
  return removed ?? []
}

/** Removes those of a network's attachments that are not in the list. @throws CniError once all was tried */
export const collect = async (context: Context<unknown>, valid: readonly AttachmentId[]): Promise<void> => {
  const failures = new Failures()
  await failures.attempt(() => gcNftables(context, context.network, valid))
  await failures.attempt(() => gcIptables(context, valid))
  failures.raise()
}

/** Where there is no program, or no such thing in the kernel, nothing can be there. */
const inWords = async (find: () => Promise<string[]>): Promise<string[]> => {
  try {
    return await find()
  } catch (error) {
    if (nftables.isUnsupported(error)) return [(error as Error).message]
    throw error
  }
}

/**
 * What is missing of the mappings, in words; nothing: an empty list. Either backend will do, whichever the
 * configuration asks for by now: the attachment may be older than it, or another implementation's. Conditions are in
 * the words of one of them.
 */
export const missingMappings = async (
  attachment: PortmapAttachment,
  forwarding: Forwarding,
): Promise<string[]> => {
  const { conf, hostNetns } = attachment
  const find: { readonly [B in Backend]: () => Promise<string[]> } = {
    nftables: () => inWords(() => missingNftables(attachment, forwarding)),
    iptables: () => inWords(() => missingIptables(attachment, forwarding)),
  }
  const asked = backendOf(conf) ?? ((await nftables.usable(hostNetns)) ? 'nftables' : 'iptables')
  const missing = await find[asked]()
  const bound = backendOf({ ...conf, backend: undefined }) !== undefined
  if (missing.length === 0 || bound) return missing
  const elsewhere = await find[asked === 'nftables' ? 'iptables' : 'nftables']()
  return elsewhere.length === 0 ? [] : missing
}

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** Whether ports could be mapped now. @throws CniError code 50; code 7 for conditions that are not understood */
export const status = async ({ conf, hostNetns, exec }: Context<PortmapConf>): Promise<void> => {
  const asked = backendOf(conf)
  if (asked === 'nftables') {
    parseConditions('ip', conf.conditionsV4)
    parseConditions('ip6', conf.conditionsV6)
  }
  const reason = await nftables.unusable(hostNetns)
  if (asked !== 'iptables' && !reason) return
  if (asked === 'nftables')
    throw notAvailable('portmap is to use nftables, but this kernel has no nf_tables', reason?.message)
  // Anything more would make the old xtables' table by looking.
  const { status, stdout, stderr } = await exec('iptables', ['--version']).catch((error: Error) => ({
    status: 127,
    stdout: '',
    stderr: error.message,
  }))
  if (status !== 0) throw notAvailable('portmap needs iptables, which can not be run', stderr.trim())
  if (reason && stdout.includes('(nf_tables)'))
    throw notAvailable(
      'portmap needs nf_tables, which this kernel does not have',
      `iptables is a front end to it; ${reason.message}`,
    )
}
