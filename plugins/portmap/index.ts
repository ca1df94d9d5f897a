/** `portmap`: ports of the host lead to ports of the container. Comes behind a plugin that assigns addresses. */
import { type Attachment, definePlugin } from '../../cni/plugin.ts'
import { allVersions } from '../../cni/types.ts'
import { chainedResult } from '../shared/chained.ts'
import { checkFailed, requirePrevResult } from '../shared/check.ts'
import { Failures } from '../shared/failures.ts'
import { collect, forward, missingMappings, status, unforward } from './backend.ts'
import { forwardingOf, mappingsOf, type PortmapConf, portmapConf } from './conf.ts'
import { flushUdp } from './conntrack.ts'
import type { Forwarding } from './forwarding.ts'
import { allowLocalnet, missingLocalnet } from './localnet.ts'

type PortmapAttachment = Attachment<PortmapConf>

/**
 * Senders of UDP that are known already would be sent where they were sent before, for as long as they go on. A kernel
 * that does not tell has them until they are silent for two minutes.
 */
const forget = async (attachment: PortmapAttachment, forwarding: Forwarding): Promise<void> => {
  try {
    await flushUdp(attachment, forwarding)
  } catch (error) {
    attachment.log.warn(`UDP flows to mapped ports may go on to where they went: ${(error as Error).message}`)
  }
}

const map = async (
  attachment: PortmapAttachment,
  forwarding: Forwarding,
  takeOver: boolean,
): Promise<void> => {
  await forward(attachment, forwarding, takeOver)
  if (forwarding.snat) await allowLocalnet(attachment, forwarding.addresses)
  await forget(attachment, forwarding)
}

const missing = async (attachment: PortmapAttachment, forwarding: Forwarding): Promise<string[]> => [
  ...(await missingMappings(attachment, forwarding)),
  ...(forwarding.snat ? await missingLocalnet(attachment, forwarding.addresses) : []),
]

/** What there is to do; null: nothing. */
const planned = (
  attachment: PortmapAttachment,
  result: NonNullable<PortmapAttachment['prevResult']>,
): Forwarding | null => {
  if (mappingsOf(attachment).length === 0) return null
  const forwarding = forwardingOf(attachment, result)
  if (forwarding.addresses.length > 0) return forwarding
  attachment.log.warn(`${attachment.ifName} has no address: no port leads to it`)
  return null
}

/** The portmap plugin. */
export const portmap = definePlugin({
  type: 'portmap',
  kind: 'interface',
  versions: allVersions,
  conf: portmapConf,

  async add(attachment) {
    const result = chainedResult(attachment)
    const forwarding = planned(attachment, result)
    // The newest one of a port gets it: its runtime may not have cleaned up behind the one before.
    if (forwarding) await map(attachment, forwarding, true)
    return result
  },

  async check(attachment) {
    const forwarding = planned(attachment, requirePrevResult(attachment))
    if (!forwarding) return
    const [first, ...others] = await missing(attachment, forwarding)
    if (first !== undefined)
      throw checkFailed(`port mappings: missing ${first}`, others.join('; ') || undefined)
  },

  async del(attachment) {
    const failures = new Failures()
    const removed = await unforward(attachment, failures)
    const forwarding = forwardingOf(attachment, attachment.prevResult ?? {})
    await forget(attachment, { ...forwarding, mappings: [...forwarding.mappings, ...removed] })
    failures.raise()
  },

  status,
  gc: collect,

  async repair(attachment) {
    const forwarding = planned(attachment, requirePrevResult(attachment))
    if (!forwarding) return []
    const words = await missing(attachment, forwarding)
    if (words.length === 0) return []
    // Of two attachments that want one port, each would take it from the other for ever.
    await map(attachment, forwarding, false)
    const still = await missing(attachment, forwarding)
    for (const word of still) attachment.log.warn(`port mappings: missing, and stays so: ${word}`)
    return words.filter((word) => !still.includes(word))
  },
})
