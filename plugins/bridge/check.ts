/** CHECK of the bridge plugin: everything ADD has made, the host's side included. Changes nothing. */
import type { Interface, Result } from '../../cni/types.ts'
import { address, type BriefLink, bridgeVlan, familyOf, type Link, sameMac } from '../../netlink/index.ts'
import {
  checkConfiguration,
  checkFailed,
  checkLink,
  containerInterface,
  findLink,
  requirePrevResult,
} from '../shared/check.ts'
import { ownAddresses } from '../shared/result.ts'
import { checkSpoofCheck } from '../shared/spoof-check.ts'
import { checkForwarding, checkHostEnd, checkMasquerading } from '../shared/veth-check.ts'
import type { BridgeAttachment } from './conf.ts'
import { type Bridge, expectBridge } from './device.ts'
import { type Gateways, planGateways } from './gateways.ts'
import { portsOf } from './hold.ts'
import { plan } from './plan.ts'
import { vlanGatewayName, wantedVlans } from './vlan-port.ts'
import { type PortVlans, wantsFiltering } from './vlans.ts'

const onHost = (result: Result): readonly Interface[] =>
  (result.interfaces ?? []).filter(({ sandbox }) => !sandbox)

/** Whether a bridge has the MAC of one of its ports: it was given none, and its own changes as they come and go. */
const followsPorts = async (
  attachment: BridgeAttachment,
  { index, address: mac }: BriefLink,
): Promise<boolean> => (await portsOf(attachment, index)).some((port) => port.address === mac)

const findBridge = async (attachment: BridgeAttachment, result: Result): Promise<Bridge> => {
  const { conf, host } = attachment
  const listed = onHost(result).find(({ name }) => name === conf.bridge)
  if (!listed) throw checkFailed(`the result lists no bridge ${conf.bridge}`)
  // The MTU of a bridge follows its ports', the result's may be out of date.
  const bridge = expectBridge(await checkLink(host, { name: listed.name }, 'bridge'))
  if (listed.mac && !sameMac(listed.mac, bridge.address) && !(await followsPorts(attachment, bridge)))
    throw checkFailed(`bridge ${bridge.name} has MAC ${bridge.address}, the result says ${listed.mac}`)
  if (!bridge.up) throw checkFailed(`bridge ${bridge.name} is down`)
  if (conf.promiscMode && !bridge.flags.promisc)
    throw checkFailed(`bridge ${bridge.name} is not in promiscuous mode, though promiscMode is set`)
  if (wantsFiltering(conf) && !bridge.data?.vlanFiltering)
    throw checkFailed(`bridge ${bridge.name} does not filter VLANs`)
  return bridge
}

const checkPort = ({ conf }: BridgeAttachment, port: Link): void => {
  const settings = port.portKind === 'bridge' ? port.portData : undefined
  if ((settings?.hairpin ?? false) !== conf.hairpinMode)
    throw checkFailed(
      `hairpin mode of ${port.name} is ${settings?.hairpin}, hairpinMode is ${conf.hairpinMode}`,
    )
  if ((settings?.isolated ?? false) !== conf.portIsolation)
    throw checkFailed(
      `isolation of ${port.name} is ${settings?.isolated}, portIsolation is ${conf.portIsolation}`,
    )
  // What results before 1.1.0 do not tell.
  if (conf.mtu !== 0 && port.mtu !== conf.mtu)
    throw checkFailed(`interface ${port.name} has MTU ${port.mtu}, the configuration says ${conf.mtu}`)
  if (!conf.disableContainerInterface && port.operState !== 'up')
    throw checkFailed(`bridge port in error state: ${port.operState}`)
}

const checkVlans = async (
  { host }: BridgeAttachment,
  port: Pick<Link, 'index' | 'name'>,
  vlans: PortVlans,
): Promise<void> => {
  const wanted = wantedVlans(vlans)
  if (wanted.length === 0) return
  const [found] = await host.run(bridgeVlan.list({ index: port.index }))
  for (const { vid, last = vid, pvid = false } of wanted)
    for (let id = vid; id <= last; id++) {
      const have = found?.vlans.find((range) => range.vid <= id && id <= range.last)
      if (!have || (pvid && !have.pvid))
        throw checkFailed(`${port.name} does not carry VLAN ${id}${pvid ? ' untagged' : ''}`)
    }
}

/** What carries the gateway's addresses: the bridge, or the interface of a VLAN, which has to be in it. */
const findGateway = async (attachment: BridgeAttachment, bridge: Bridge): Promise<BriefLink> => {
  const { conf, host } = attachment
  if (conf.vlan === 0) return bridge
  const name = vlanGatewayName(bridge.name, conf.vlan)
  const found = await findLink(host, name)
  if (!found) throw checkFailed(`the gateway's interface ${name} does not exist`)
  if (!found.up) throw checkFailed(`the gateway's interface ${name} is down`)
  if (found.kind !== 'veth' || !found.link) return found
  const port = await findLink(host, found.link)
  if (port?.link !== found.index || port.master !== bridge.index)
    throw checkFailed(`the gateway's interface ${name} is not plugged into ${bridge.name}`)
  await checkVlans(attachment, port, { untagged: conf.vlan, tagged: [] })
  return found
}

/** The gateway's addresses, and that the host forwards. */
const checkGateway = async (
  attachment: BridgeAttachment,
  { addresses }: Gateways,
  bridge: Bridge,
): Promise<void> => {
  const { host } = attachment
  if (addresses.length === 0) return
  const target = await findGateway(attachment, bridge)
  const present = await host.run(address.list({ index: target.index }))
  for (const wanted of addresses)
    if (!present.some((own) => own.address === wanted))
      throw checkFailed(`${target.name} does not have the gateway's address ${wanted}`)
  checkForwarding(attachment, addresses.map(familyOf))
}

/** @throws CniError naming the first thing that is not as ADD left it */
export const checkBridge = async (attachment: BridgeAttachment): Promise<void> => {
  const { conf, ipam, container, containerId, ifName } = attachment
  const { vlans } = plan(attachment)
  const result = requirePrevResult(attachment)
  const bridge = await findBridge(attachment, result)
  const entry = containerInterface(result, attachment)
  // Plugins behind this one may change the container's MTU.
  const inside = await checkLink(container, { ...entry, mtu: undefined }, 'veth')
  if (!conf.disableContainerInterface && !inside.up) throw checkFailed(`interface ${inside.name} is down`)
  const port = await checkHostEnd(attachment, result, inside, bridge.name)
  if (port.master !== bridge.index) throw checkFailed(`${port.name} is not a port of bridge ${bridge.name}`)
  checkPort(attachment, port)
  await checkVlans(attachment, port, vlans)
  if (conf.macspoofchk) {
    const [missing] = await checkSpoofCheck(attachment.hostNftables, {
      containerId,
      ifName,
      hostInterface: port.name,
      mac: inside.address,
    })
    if (missing) throw checkFailed(`MAC spoof check: missing ${missing}`)
  }
  if (!ipam) return
  await ipam.check()
  await checkConfiguration(attachment, inside, result)
  const ips = ownAddresses(result, attachment)
  await checkGateway(attachment, planGateways(conf, { ips }), bridge)
  await checkMasquerading(attachment, ips)
}
