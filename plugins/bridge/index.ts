/**
 * `bridge`: the container gets one end of a veth pair, a bridge on the host the other. With IPAM it is a routed network
 * behind the bridge's gateway address; without, a plain segment.
 */
import { CniError, invalidConfig } from '../../cni/error.ts'
import { definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Interface, type Result } from '../../cni/types.ts'
import { apply } from '../../cni/undo.ts'
import { familyOf, type Link, link, TimeoutError, waitForAddress, waitForLink } from '../../netlink/index.ts'
import { configureRequests, prepareIpv6 } from '../shared/configure.ts'
import { chooseDns } from '../shared/dns.ts'
import { enableForwarding } from '../shared/forwarding.ts'
import { requestedMac } from '../shared/mac.ts'
import { setUpMasquerade } from '../shared/masquerade.ts'
import { addSpoofCheck, deleteSpoofCheck } from '../shared/spoof-check.ts'
import { addVeth, type Veth } from '../shared/veth.ts'
import { checkBridge } from './check.ts'
import { type BridgeAttachment, type BridgeConf, bridgeConf } from './conf.ts'
import { type Bridge, ensureAddresses, ensureBridge, holdBridges } from './device.ts'
import { type Gateways, planGateways } from './gateways.ts'
import { collect, remove } from './remove.ts'
import { bridgeStatus } from './status.ts'
import { ensureVlanGateway, vlanGatewayName, vlanSteps } from './vlan-port.ts'
import { type PortVlans, portVlans } from './vlans.ts'

/** Milliseconds for the port, and for duplicate address detection of IPv6. */
const PORT_TIMEOUT = 5_000
const DAD_TIMEOUT = 10_000

/** The container's MAC: later sources win. Empty: none asked for. */
const macOf = ({ conf, args }: BridgeAttachment): string =>
  conf.runtimeConfig?.mac || conf.args?.cni?.mac || args.pick(['MAC']).MAC || ''

/** All that can be refused before the kernel is touched. @throws CniError */
const plan = (attachment: BridgeAttachment): { readonly vlans: PortVlans; readonly mac: string } => {
  const { conf, ipam } = attachment
  const vlans = portVlans(conf)
  const mac = requestedMac(macOf(attachment))
  if (conf.hairpinMode && conf.promiscMode)
    throw invalidConfig('cannot set hairpin mode and promiscuous mode at the same time')
  if (conf.disableContainerInterface && ipam)
    throw invalidConfig('cannot use IPAM when DisableContainerInterface flag is set')
  if (conf.vlan !== 0 && isGateway(conf) && ipam) vlanGatewayName(conf.bridge, conf.vlan)
  return { vlans, mac }
}

const isGateway = (conf: BridgeConf): boolean => conf.isGateway || conf.isDefaultGateway

/** Makes the veth pair, a port of the bridge with the configuration's settings. */
const attach = async (
  attachment: BridgeAttachment,
  bridge: Bridge,
  { vlans, mac }: ReturnType<typeof plan>,
): Promise<Veth> => {
  const { conf, host, hostNftables, undo, containerId, ifName } = attachment
  const settings = { hairpin: conf.hairpinMode || undefined, isolated: conf.portIsolation || undefined }
  const veth = await addVeth(attachment, {
    mtu: conf.mtu,
    mac,
    master: bridge.index,
    // A new port is neither hairpin nor isolated.
    steps: (name) =>
      settings.hairpin || settings.isolated ? [{ request: link.setBridgePort(name, settings) }] : [],
  })
  if (vlans.untagged !== 0 || vlans.tagged.length > 0) {
    const port = await host.run(link.get(veth.hostName))
    await apply(host, undo, vlanSteps(bridge, port.index, vlans, conf.preserveDefaultVlan))
  }
  if (conf.macspoofchk) {
    const check = { containerId, ifName, hostInterface: veth.hostName, mac: veth.mac }
    undo.push('remove the MAC spoof check', () => deleteSpoofCheck(hostNftables, check))
    await addSpoofCheck(hostNftables, check)
  }
  return veth
}

/** Addresses and routes of the container, and the interface up. */
const configure = async (
  attachment: BridgeAttachment,
  veth: Veth,
  { ips, routes }: Gateways,
): Promise<void> => {
  const { conf, container, netns, undo, ifName, signal } = attachment
  const setup = { index: veth.index, name: ifName, ips, routes, dad: conf.enabledad }
  if (netns) prepareIpv6(netns, setup)
  await apply(
    container,
    undo,
    configureRequests(setup).map((request) => ({ request })),
  )
  if (!netns || !conf.enabledad || !ips.some(({ address }) => familyOf(address) === 6)) return
  const settled = await waitForAddress(
    { netns, connection: container },
    veth.index,
    (all) => !all.some(({ flags }) => flags.tentative),
    { timeout: DAD_TIMEOUT, signal },
  )
  const failed = settled.find(({ flags }) => flags.dadfailed)
  if (failed)
    throw new CniError({
      code: 999,
      msg: `duplicate address detection failed for ${failed.address}`,
      details: 'another host on the segment uses this address',
    })
}

/** The host's side of a routed network: the gateway's addresses, forwarding, masquerade. */
const serve = async (
  attachment: BridgeAttachment,
  bridge: Bridge,
  gateways: Gateways,
): Promise<Link | undefined> => {
  const { conf, hostNetns } = attachment
  let vlanGateway: Link | undefined
  if (isGateway(conf) && gateways.addresses.length > 0) {
    if (conf.vlan !== 0) vlanGateway = await ensureVlanGateway(attachment, bridge)
    await ensureAddresses(attachment, vlanGateway ?? bridge, gateways.addresses)
    enableForwarding(hostNetns, gateways.addresses.map(familyOf))
  }
  if (conf.ipMasq)
    await setUpMasquerade(
      attachment,
      gateways.ips.map(({ address }) => address),
    )
  return vlanGateway
}

/** The port as it is when frames pass. @throws CniError when they still do not after a while */
const portUp = async ({ host, hostNetns, signal }: BridgeAttachment, name: string): Promise<Link> => {
  try {
    const port = await waitForLink(
      { netns: hostNetns, connection: host },
      name,
      (found) => !found || found.operState === 'up',
      { timeout: PORT_TIMEOUT, signal },
    )
    if (port) return port
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error
    const state = (error.lastState as Link | undefined)?.operState
    throw new CniError({
      code: 999,
      msg: `bridge port in error state: ${state}`,
      details: `${name} did not come up within ${PORT_TIMEOUT} ms`,
      cause: error,
    })
  }
  throw new CniError({
    code: 999,
    msg: `bridge port ${name} is gone`,
    details: 'something else removed it during ADD',
  })
}

const entry = ({ name, address, mtu }: Link, sandbox?: string): Interface => ({
  name,
  mac: address,
  mtu,
  sandbox,
})

const add = async (attachment: BridgeAttachment): Promise<Result> => {
  const { conf, ipam, host, container, ifName, netnsPath } = attachment
  const planned = plan(attachment)
  const bridge = await ensureBridge(attachment)
  const veth = await attach(attachment, bridge, planned)
  const fromIpam = ipam ? await ipam.add() : {}
  if (ipam && (fromIpam.ips ?? []).length === 0)
    throw new CniError({ code: 999, msg: 'IPAM plugin returned missing IP config' })
  const gateways = planGateways(conf, fromIpam)
  let vlanGateway: Link | undefined
  if (ipam) {
    await configure(attachment, veth, gateways)
    vlanGateway = await serve(attachment, bridge, gateways)
  } else if (!conf.disableContainerInterface) await container.run(link.set(veth.index, { up: true }))
  const port = conf.disableContainerInterface
    ? await host.run(link.get(veth.hostName))
    : await portUp(attachment, veth.hostName)
  return {
    interfaces: [
      entry(bridge),
      entry(port),
      { name: ifName, mac: veth.mac, mtu: port.mtu, sandbox: netnsPath },
      ...(vlanGateway ? [entry(vlanGateway)] : []),
    ],
    ips: gateways.ips,
    routes: gateways.routes,
    dns: chooseDns(conf.dns, fromIpam.dns),
  }
}

/** The bridge plugin. */
export const bridge = definePlugin({
  type: 'bridge',
  versions: allVersions,
  conf: bridgeConf,
  async add(attachment) {
    const hold = await holdBridges(attachment)
    try {
      return await add(attachment)
    } finally {
      hold.release()
    }
  },
  check: checkBridge,
  del: remove,
  status: bridgeStatus,
  gc: collect,
})
