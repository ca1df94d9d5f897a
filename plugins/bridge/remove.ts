/** DEL and GC of the bridge plugin. The bridge itself, its addresses and the host's settings stay, as in the Go one. */
import type { Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { bridgeVlan, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { nftablesOf } from '../shared/nftables.ts'
import { deleteSpoofCheck, gcSpoofCheck } from '../shared/spoof-check.ts'
import { deleteLink } from '../shared/veth.ts'
import { collectAttachments, removeAttachment } from '../shared/veth-attachment.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'

/** Removes an attachment. */
export const remove = (attachment: BridgeAttachment): Promise<void> =>
  removeAttachment(attachment, attachment.conf.bridge, async (found) => {
    // Its name does not tell the network: it may be that of who has the interface.
    const nft = found && !found.taken ? nftablesOf(attachment) : null
    if (nft) await deleteSpoofCheck(nft, attachment)
  })

/** Removes the interface of a VLAN's gateway when no port but its own is left in the VLAN. */
const collectVlanGateway = async ({ conf, host }: Context<BridgeConf>): Promise<void> => {
  const gateway = conf.vlan === 0 ? null : await findLink(host, `${conf.bridge}.${conf.vlan}`)
  const bridge = gateway && (await findLink(host, conf.bridge))
  if (gateway?.kind !== 'veth' || !bridge) return
  const used = (await host.run(bridgeVlan.list())).some(
    ({ index, master, vlans }) =>
      master === bridge.index &&
      index !== bridge.index &&
      index !== gateway.link &&
      vlans.some(({ vid, last }) => vid <= conf.vlan && conf.vlan <= last),
  )
  if (!used) await deleteLink(host, gateway.index)
}

/** Removes what belongs to attachments of the network that are not in the list. */
export const collect = (context: Context<BridgeConf>, valid: readonly AttachmentId[]): Promise<void> =>
  collectAttachments(
    context,
    valid,
    () => collectVlanGateway(context),
    async () => {
      const nft = nftablesOf(context)
      const listed = async () => new Set((await context.host.run(link.list())).map(({ name }) => name))
      if (nft) await gcSpoofCheck(nft, valid, listed)
    },
  )
