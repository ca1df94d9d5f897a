/** DEL and GC of the bridge plugin. The bridge itself, its addresses and the host's settings stay, as in the Go one. */
import type { Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { bridgeVlan, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { Failures } from '../shared/failures.ts'
import { collectMasquerade, tearDownMasquerade } from '../shared/masquerade.ts'
import { deleteSpoofCheck, gcSpoofCheck } from '../shared/spoof-check.ts'
import { collectVeths, deleteLink, removeVeth } from '../shared/veth.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'

/**
 * Removes an attachment. IPAM goes first, while the interface is there to send a release over. Rules are found by their
 * owner, whatever the configuration says by now.
 */
export const remove = async (attachment: BridgeAttachment): Promise<void> => {
  const { ipam, hostNftables, prevResult } = attachment
  const addresses = (prevResult?.ips ?? []).map(({ address }) => address)
  const failures = new Failures()
  if (ipam) await failures.attempt(() => ipam.del())
  await Promise.all([
    failures.attempt(() => removeVeth(attachment)),
    failures.attempt(() => deleteSpoofCheck(hostNftables, attachment)),
    failures.attempt(() => tearDownMasquerade(attachment, addresses)),
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
  const { ipam, host, hostNftables } = context
  const failures = new Failures()
  if (ipam) await failures.attempt(() => ipam.gc(valid))
  await failures.attempt(() => collectVeths(context, valid))
  await failures.attempt(() => collectVlanGateway(context))
  await failures.attempt(async () => {
    const names = (await host.run(link.list())).map(({ name }) => name)
    await gcSpoofCheck(hostNftables, valid, new Set(names))
  })
  await failures.attempt(() => collectMasquerade(context, valid))
  failures.raise()
}
