/** VLANs of a bridge's ports, and the interface that carries the gateway of a VLAN. */
import { invalidConfig } from '../../cni/error.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { bridgeVlan, type Link, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { isLinkName, randomMac, vethName } from '../shared/identity.ts'
import { deleteLink } from '../shared/veth.ts'
import type { BridgeAttachment } from './conf.ts'
import { type Bridge, portsOf, whenAlone } from './device.ts'
import type { PortVlans } from './vlans.ts'

/** VLAN 1: what ports carry untagged where a trunk is configured without a `vlan`. */
const NATIVE = 1

/** What a port carries of the configuration's. */
export const wantedVlans = ({ untagged, tagged }: PortVlans): readonly bridgeVlan.VlanRange[] => {
  if (untagged === 0 && tagged.length === 0) return []
  const vid = untagged || NATIVE
  // A VLAN that is added twice keeps the flags it is given last.
  return [...tagged.map(([first, last]) => ({ vid: first, last })), { vid, pvid: true, untagged: true }]
}

/**
 * Sets the VLANs of a new port. What it has got from the bridge's default goes first, unless it is to stay.
 * Equivalent: `bridge vlan del dev vethX vid 1`, `bridge vlan add dev vethX vid 100 pvid untagged`, ….
 */
export const vlanSteps = (
  bridge: Bridge,
  index: number,
  vlans: PortVlans,
  preserveDefault: boolean,
): readonly Step[] => {
  const wanted = wantedVlans(vlans)
  if (wanted.length === 0) return []
  const inherited = bridge.data?.vlanDefaultPvid ?? NATIVE
  return [
    ...(preserveDefault || inherited === 0
      ? []
      : [{ request: bridgeVlan.delete(index, [{ vid: inherited }]) }]),
    { request: bridgeVlan.add(index, wanted) },
  ]
}

/** Name of the interface that carries the gateway of a VLAN. @throws CniError code 7 where it is too long */
export const vlanGatewayName = (bridge: string, vlan: number): string => {
  const name = `${bridge}.${vlan}`
  if (!isLinkName(name))
    throw invalidConfig(
      `the interface for the gateway of VLAN ${vlan} can not be called ${JSON.stringify(name)}`,
      'an interface name has at most 15 bytes: choose a shorter name for "bridge"',
    )
  return name
}

/**
 * The host's own interface in the VLAN, made where it is missing: one end of a veth pair whose other end is a port of
 * the bridge in that VLAN. Like the bridge it outlives the attachments; GC removes it when nothing uses the VLAN.
 */
export const ensureVlanGateway = async (attachment: BridgeAttachment, bridge: Bridge): Promise<Link> => {
  const { conf, host, hostNetns, undo } = attachment
  const name = vlanGatewayName(bridge.name, conf.vlan)
  const found = await findLink(host, name)
  if (found) return found
  const port = vethName()
  const others = async (): Promise<number> =>
    (await portsOf(attachment, bridge.index)).filter((other) => other.name !== port).length
  const remove = async (): Promise<void> => {
    if ((await others()) === 0) await deleteLink(host, name)
  }
  const mtu = bridge.mtu
  await apply(host, undo, [
    {
      request: link.add({
        kind: 'veth',
        name,
        address: randomMac(),
        mtu,
        up: true,
        data: { peer: { name: port, address: randomMac(), mtu } },
      }),
      undo: [`delete ${name}`, () => whenAlone(attachment, remove)],
    },
    { request: link.set(port, { master: bridge.index, up: true }) },
  ])
  hostNetns.writeSysctls([{ name: `net/ipv6/conf/${name}/accept_ra`, value: '0' }])
  const [gateway, peer] = await Promise.all([host.run(link.get(name)), host.run(link.get(port))])
  await apply(host, undo, vlanSteps(bridge, peer.index, { untagged: conf.vlan, tagged: [] }, false))
  return gateway
}
