/** VLANs of a bridge's ports, and the interface that carries the gateway of a VLAN. */
import { invalidConfig } from '../../cni/error.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { bridgeVlan, isLinkName, type Link, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { portMac, randomMac, vethName } from '../shared/identity.ts'
import { refuseAdvertisements } from '../shared/sysctl.ts'
import { deleteLink, QUEUES } from '../shared/veth.ts'
import type { BridgeAttachment } from './conf.ts'
import type { Bridge } from './device.ts'
import { findOrMake } from './find-or-make.ts'
import type { Hold } from './hold.ts'
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
 * Sets the VLANs of a port. What a new one has got from the bridge's default goes first, unless it is to stay.
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
  const stays =
    preserveDefault ||
    inherited === 0 ||
    wanted.some(({ vid, last = vid }) => vid <= inherited && inherited <= last)
  return [
    ...(stays ? [] : [{ request: bridgeVlan.delete(index, [{ vid: inherited }]) }]),
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

/** @throws NetlinkError, EEXIST where another ADD has made it at the same moment */
const create = async (
  { host }: BridgeAttachment,
  hold: Hold,
  bridge: Bridge,
  name: string,
): Promise<void> => {
  const port = vethName()
  hold.ownPorts.add(port)
  const { mtu } = bridge
  const remove = () => hold.unlessShared(bridge.index, () => deleteLink(host, name))
  await apply(host, hold.undo, [
    {
      request: link.add({
        kind: 'veth',
        name,
        address: randomMac(),
        mtu,
        numTxQueues: QUEUES,
        numRxQueues: QUEUES,
        up: true,
        data: {
          peer: { name: port, address: portMac(), mtu, numTxQueues: QUEUES, numRxQueues: QUEUES },
        },
      }),
      undo: [`delete ${name}`, remove],
    },
    { request: link.set(port, { master: bridge.index, up: true }) },
  ])
}

/** Plugs it in, into its VLAN: what has been done already changes nothing. */
const complete = async (attachment: BridgeAttachment, bridge: Bridge, found: Link): Promise<void> => {
  const { conf, host, undo } = attachment
  if (!found.up) await host.run(link.set(found.index, { up: true }))
  // An interface of another kind is the operator's own way into the VLAN.
  const port = found.kind === 'veth' && found.link ? await findLink(host, found.link) : null
  if (port?.link !== found.index) return
  if (port.master !== undefined && port.master !== bridge.index)
    throw invalidConfig(
      `${JSON.stringify(found.name)} already exists but is not plugged into ${bridge.name}`,
      'remove it, or choose another name for "bridge"',
    )
  await apply(host, undo, [
    ...(port.master === undefined || !port.up
      ? [{ request: link.set(port.index, { master: bridge.index, up: true }) }]
      : []),
    ...vlanSteps(bridge, port.index, { untagged: conf.vlan, tagged: [] }, false),
  ])
}

/**
 * The host's own interface in the VLAN, made where it is missing: one end of a veth pair whose other end is a port of
 * the bridge in that VLAN. Like the bridge it outlives the attachments; GC removes it when nothing uses the VLAN.
 * @throws CniError, NetlinkError
 */
export const ensureVlanGateway = async (
  attachment: BridgeAttachment,
  hold: Hold,
  bridge: Bridge,
): Promise<Link> => {
  const { conf, host, hostNetns, log } = attachment
  const name = vlanGatewayName(bridge.name, conf.vlan)
  const found = await findOrMake({
    what: `interface ${name}`,
    find: () => findLink(host, name),
    make: () => create(attachment, hold, bridge, name),
  })
  await complete(attachment, bridge, found)
  refuseAdvertisements(hostNetns, log, name)
  return found
}
