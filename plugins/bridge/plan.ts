import { invalidConfig } from '../../cni/error.ts'
import { macOf } from '../shared/mac.ts'
import { containerNetns } from '../shared/netns.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'
import { vlanGatewayName } from './vlan-port.ts'
import { type PortVlans, portVlans } from './vlans.ts'

/** Whether the network is routed by the host. */
export const isGateway = (conf: Pick<BridgeConf, 'isGateway' | 'isDefaultGateway'>): boolean =>
  conf.isGateway || conf.isDefaultGateway

/**
 * Refuses keys that contradict each other.
 * @param routed whether the network has IPAM
 * @throws CniError code 7, in the words of the Go plugin
 */
export const checkConf = (conf: BridgeConf, routed: boolean): PortVlans => {
  const vlans = portVlans(conf)
  if (conf.hairpinMode && conf.promiscMode)
    throw invalidConfig('cannot set hairpin mode and promiscuous mode at the same time')
  if (conf.disableContainerInterface && routed)
    throw invalidConfig('cannot use IPAM when DisableContainerInterface flag is set')
  if (conf.vlan !== 0 && isGateway(conf) && routed) vlanGatewayName(conf.bridge, conf.vlan)
  return vlans
}

/** What an attachment's port is to be. */
export interface Plan {
  readonly vlans: PortVlans
  /** Of the container's interface; empty: none asked for. */
  readonly mac: string
}

/** All that can be refused before anything is touched. @throws CniError */
export const plan = (attachment: BridgeAttachment): Plan => {
  const { conf, ipam } = attachment
  const vlans = checkConf(conf, ipam !== null)
  const mac = macOf(attachment)
  containerNetns(attachment)
  return { vlans, mac }
}
