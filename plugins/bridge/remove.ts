/** DEL and GC of the bridge plugin. The bridge itself, its addresses and the host's settings stay, as in the Go one. */
import type { Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { address, bridgeVlan, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { Failures } from '../shared/failures.ts'
import { collectMasquerade, fromAddresses, type IsOurs, tearDownMasquerade } from '../shared/masquerade.ts'
import { nftablesOf } from '../shared/nftables.ts'
import { deleteSpoofCheck, gcSpoofCheck } from '../shared/spoof-check.ts'
import { deleteLink } from '../shared/veth.ts'
import { collectVeths, findVeth, removeVeth } from '../shared/veth-removal.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'

/**
 * Tells the attachment's own addresses from those of another one of the same container: by the result of ADD, or, where
 * there is none, by what the container's other interfaces have.
 */
const ownAddresses = async (attachment: BridgeAttachment, inside: number | undefined): Promise<IsOurs> => {
  const { prevResult, netns, ifName } = attachment
  const own = (prevResult?.interfaces ?? []).findIndex(({ name, sandbox }) => sandbox && name === ifName)
  const listed = (prevResult?.ips ?? []).filter((ip) => ip.interface === undefined || ip.interface === own)
  if (listed.length > 0) return fromAddresses(listed.map((ip) => ip.address))
  if (!netns) return () => true
  const present = await attachment.container.run(address.list())
  const others = fromAddresses(present.filter(({ index }) => index !== inside).map((one) => one.address))
  return (source) => !others(source)
}

/**
 * Removes an attachment. IPAM goes first, while the interface is there to send a release over. Rules are found by their
 * owner, whatever the configuration says by now.
 */
export const remove = async (attachment: BridgeAttachment): Promise<void> => {
  const { conf, ipam } = attachment
  const failures = new Failures()
  if (ipam) await failures.attempt(() => ipam.del())
  const found = await failures.attempt(() => findVeth(attachment, conf.bridge))
  const isOurs = await failures.attempt(() => ownAddresses(attachment, found?.inside))
  await Promise.all([
    failures.attempt(() => found && removeVeth(found)),
    // Its name does not tell the network: it may be that of who has the interface.
    failures.attempt(async () => {
      const nft = found && !found.taken ? nftablesOf(attachment) : null
      if (nft) await deleteSpoofCheck(nft, attachment)
    }),
    failures.attempt(() => tearDownMasquerade(attachment, isOurs ?? (() => false))),
  ])
  failures.raise()
}

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
export const collect = async (
  context: Context<BridgeConf>,
  valid: readonly AttachmentId[],
): Promise<void> => {
  const { ipam, host } = context
  const failures = new Failures()
  if (ipam) await failures.attempt(() => ipam.gc(valid))
  await failures.attempt(() => collectVeths(context, valid))
  await failures.attempt(() => collectVlanGateway(context))
  await failures.attempt(async () => {
    const nft = nftablesOf(context)
    if (!nft) return
    const names = (await host.run(link.list())).map(({ name }) => name)
    await gcSpoofCheck(nft, valid, new Set(names))
  })
  await failures.attempt(() => collectMasquerade(context, valid))
  failures.raise()
}
