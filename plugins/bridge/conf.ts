import * as z from 'zod/mini'
import type { Attachment } from '../../cni/plugin.ts'
import { commonConf, expects, flag, mtu } from '../../cni/schema.ts'
import { isLinkName } from '../../netlink/index.ts'
import { masqueradeBackend } from '../shared/masquerade.ts'

const vid = z.optional(z.int({ error: 'integer' }))

/** Every key of the bridge plugin. */
export const bridgeConf = z.object({
  ...commonConf,
  /** The bridge; made where it does not exist. */
  bridge: z._default(
    z
      .string()
      .check(expects(isLinkName, 'interface name of 1 to 15 bytes without "/", ":", "%" and white space')),
    'cni0',
  ),
  /** The bridge gets the containers' gateway address. */
  isGateway: flag,
  /** As isGateway, and the containers get a default route over it. */
  isDefaultGateway: flag,
  /** Replaces addresses of the bridge that stand in the gateway's way. */
  forceAddress: flag,
  ipMasq: flag,
  ipMasqBackend: masqueradeBackend,
  /** Of a bridge that is made, and of both ends of the veth pair. 0: the kernel's default, 1500. */
  mtu: z._default(mtu, 0),
  hairpinMode: flag,
  promiscMode: flag,
  /** Untagged VLAN of the port. 0: none. */
  vlan: z._default(z.int({ error: 'integer' }), 0),
  /** Tagged VLANs of the port. */
  vlanTrunk: z.optional(z.array(z.object({ id: vid, minID: vid, maxID: vid }))),
  /** Keeps VLAN 1 on the port besides the configured ones. */
  preserveDefaultVlan: flag,
  macspoofchk: flag,
  /** IPv6 duplicate address detection in the container. */
  enabledad: flag,
  /** The container's end stays down; without IPAM only. */
  disableContainerInterface: flag,
  /** The port reaches no other isolated port. */
  portIsolation: flag,
})
export type BridgeConf = z.infer<typeof bridgeConf>
export type BridgeAttachment = Attachment<BridgeConf>
