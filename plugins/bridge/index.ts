/**
 * `bridge`: the container gets one end of a veth pair, a bridge on the host the other. With IPAM it is a routed network
 * behind the bridge's gateway address; without, a plain segment.
 */
import { CniError, codes } from '../../cni/error.ts'
import { definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Result } from '../../cni/types.ts'
import { apply } from '../../cni/undo.ts'
import {
  address,
  type BriefLink,
  familyOf,
  type Link,
  link,
  TimeoutError,
  waitForLink,
} from '../../netlink/index.ts'
import { assign, assignedMtu } from '../shared/assign.ts'
import { findBrief } from '../shared/check.ts'
import { configureLink } from '../shared/configure.ts'
import { chooseDns } from '../shared/dns.ts'
import { enableForwarding } from '../shared/forwarding.ts'
import { setUpMasquerade } from '../shared/masquerade.ts'
import { interfaceEntry, tellsMtu } from '../shared/result.ts'
import { addSpoofCheck, deleteSpoofCheck } from '../shared/spoof-check.ts'
import { addVeth, type Veth } from '../shared/veth.ts'
import { ensureAddresses } from './addresses.ts'
import { checkBridge } from './check.ts'
import { type BridgeAttachment, bridgeConf } from './conf.ts'
import { type Bridge, ensureBridge } from './device.ts'
import { type Gateways, planGateways } from './gateways.ts'
import { type Hold, holdBridge } from './hold.ts'
import { BridgeLocks } from './locks.ts'
import { type Plan, plan } from './plan.ts'
import { collect, remove } from './remove.ts'
import { repair } from './repair.ts'
import { bridgeStatus } from './status.ts'
import { ensureVlanGateway, vlanSteps } from './vlan-port.ts'

/** Milliseconds for the port. */
const PORT_TIMEOUT = 5_000

/** Makes the veth pair, a port of the bridge with the configuration's settings. */
const attach = async (attachment: BridgeAttachment, bridge: Bridge, { vlans, mac }: Plan): Promise<Veth> => {
  const { conf, host, undo, containerId, ifName } = attachment
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
    const port = await host.run(link.getBrief(veth.hostName))
    await apply(host, undo, vlanSteps(bridge, port.index, vlans, conf.preserveDefaultVlan))
  }
  if (conf.macspoofchk) {
    const check = { containerId, ifName, hostInterface: veth.hostName, mac: veth.mac }
    const { hostNftables } = attachment
    undo.push('remove the MAC spoof check', () => deleteSpoofCheck(hostNftables, check))
    await addSpoofCheck(hostNftables, check)
  }
  return veth
}

interface Served {
  /** What carries the gateway's addresses where it is not the bridge. */
  readonly vlanGateway?: Link | undefined
  /** The port, where it was seen on the way. */
  readonly port?: BriefLink | undefined
}

/** The host's side of a routed network: the gateway's addresses, masquerade, forwarding. */
const serve = async (
  attachment: BridgeAttachment,
  hold: Hold,
  bridge: Bridge,
  veth: Veth,
  gateways: Gateways,
): Promise<Served> => {
  const { conf, host, hostNetns } = attachment
  let vlanGateway: Link | undefined
  let port: BriefLink | undefined
  if (gateways.addresses.length > 0) {
    if (conf.vlan !== 0) vlanGateway = await ensureVlanGateway(attachment, hold, bridge)
    const target = vlanGateway ?? bridge
    const [seen, present] = await host.batch([
      link.getBrief(veth.hostName),
      address.list({ index: target.index }),
    ])
    if (!present.ok) throw present.error
    // That it is gone is told where it is waited for.
    if (seen.ok) port = seen.value
    else if (seen.code !== 'ENODEV') throw seen.error
    await ensureAddresses(attachment, hold, { bridge, target }, gateways.addresses, present.value)
  }
  if (conf.ipMasq)
    await setUpMasquerade(
      attachment,
      gateways.ips.map(({ address }) => address),
    )
  // Last, because nothing takes it back.
  enableForwarding(hostNetns, gateways.addresses.map(familyOf))
  return { vlanGateway, port }
}

/**
 * The port as it is when frames pass.
 * @param seen as it was a moment ago
 * @throws CniError when they still do not after a while
 */
const portUp = async (
  { host, hostNetns, signal }: BridgeAttachment,
  name: string,
  seen: BriefLink | undefined,
): Promise<BriefLink> => {
  const now = seen?.operState === 'up' ? seen : await findBrief(host, name)
  if (now?.operState === 'up') return now
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
      code: codes.internal,
      msg: `bridge port in error state: ${state}`,
      details: `${name} did not come up within ${PORT_TIMEOUT} ms`,
      cause: error,
    })
  }
  throw new CniError({
    code: codes.internal,
    msg: `bridge port ${name} is gone`,
    details: 'something else removed it during ADD',
  })
}

const add = async (attachment: BridgeAttachment, hold: Hold, planned: Plan): Promise<Result> => {
  const { conf, ipam, host, container, ifName, netnsPath } = attachment
  const bridge = await ensureBridge(attachment, hold)
  const veth = await attach(attachment, bridge, planned)
  const fromIpam = (await assign(attachment)) ?? {}
  const gateways = planGateways(conf, fromIpam)
  let served: Served = {}
  if (ipam) {
    const { ips, routes } = gateways
    await configureLink(attachment, { index: veth.index, name: ifName, ips, routes, dad: conf.enabledad })
    served = await serve(attachment, hold, bridge, veth, gateways)
  } else if (!conf.disableContainerInterface) await container.run(link.set(veth.index, { up: true }))
  const port = conf.disableContainerInterface
    ? await host.run(link.getBrief(veth.hostName))
    : await portUp(attachment, veth.hostName, served.port)
  // A bridge whose MTU nobody has set has the least of its ports'.
  const stale = tellsMtu(attachment) && bridge.mtu !== port.mtu
  const inside = { name: ifName, address: veth.mac, mtu: assignedMtu(attachment, fromIpam) ?? port.mtu }
  return {
    interfaces: [
      interfaceEntry(attachment, stale ? await host.run(link.getBrief(bridge.index)) : bridge),
      interfaceEntry(attachment, port),
      interfaceEntry(attachment, inside, netnsPath),
      ...(served.vlanGateway ? [interfaceEntry(attachment, served.vlanGateway)] : []),
    ],
    ips: gateways.ips,
    routes: gateways.routes,
    dns: chooseDns(conf.dns, fromIpam.dns),
  }
}

/** Folders that tests choose. */
export interface BridgeOptions {
  /** Where ADDs find what they lock. Default `/run/linkwright/bridge`. */
  readonly locks?: string | undefined
}

/** Makes the plugin. */
export const defineBridge = (options: BridgeOptions = {}) => {
  const locks = new BridgeLocks(options.locks ?? '/run/linkwright/bridge')
  return definePlugin({
    type: 'bridge',
    kind: 'interface',
    versions: allVersions,
    conf: bridgeConf,
    async add(attachment) {
      const planned = plan(attachment)
      const hold = await holdBridge(attachment, locks)
      const result = await add(attachment, hold, planned)
      hold.done()
      return result
    },
    check: checkBridge,
    del: remove,
    status: bridgeStatus,
    gc: collect,
    repair,
  })
}

/** The bridge plugin. */
export const bridge = defineBridge()
