/** `vlan`: one VLAN of an interface, for one container. */
import * as z from 'zod/mini'
import { commonConf, flag, int, rule, text } from '../cni/schema.ts'
import type { BriefLink } from '../netlink/index.ts'
import { checkFacts } from './shared/check.ts'
import { defineContainerLink } from './shared/container-link.ts'
import {
  addLower,
  checkLower,
  checkMaster,
  explainLink,
  findMaster,
  lowerMtu,
  lowerMtuKey,
  type Reasons,
} from './shared/lower.ts'
import { macOf } from './shared/mac.ts'

const MAX_ID = 4094

const protocols = ['802.1Q', '802.1ad'] as const
const protocolOf = (text: string) =>
  text === '' ? '802.1Q' : protocols.find((one) => one.toLowerCase() === text.toLowerCase())

/** Every key of the vlan plugin. */
export const vlanConf = z.object({
  ...commonConf,
  /** The interface that carries the VLAN. */
  master: z.prefault(
    text.check(
      rule(
        (value) => value !== '',
        () => '"master" field is required. It specifies the host interface name to create the VLAN for',
      ),
    ),
    '',
  ),
  /** 0 to 4094. 0: a tag with a priority only. */
  vlanId: z._default(
    int.check(
      rule(
        (id) => id >= 0 && id <= MAX_ID,
        // Go's words, which say 4095.
        (id) => `invalid VLAN ID ${id} (must be between 0 and 4095 inclusive)`,
      ),
    ),
    0,
  ),
  /** `802.1Q` or `802.1ad`, the outer tag of two. Go has no such key. */
  protocol: z._default(
    text.check(
      rule(
        (value) => protocolOf(value) !== undefined,
        (value) => `unknown VLAN protocol: ${JSON.stringify(value)}`,
      ),
    ),
    '802.1Q',
  ),
  /** 0: the master's. */
  mtu: lowerMtuKey,
  /** The master is an interface of the container. */
  linkInContainer: flag,
})

/** Bytes of a tag. */
const TAG = 4

/** What fits into the VLAN: MACsec can't lengthen its frames by a tag (netif_reduces_vlan_mtu). */
const carrierOf = (master: BriefLink): BriefLink =>
  master.kind === 'macsec' ? { ...master, mtu: master.mtu - TAG } : master

const reasons = ({ name }: BriefLink, id: number): Reasons => ({
  EEXIST: `VLAN ${id} of ${name} is in use: another container, or the host, has it. One VLAN of a master is for one interface; for several containers plug them into a bridge on top of it`,
  EOPNOTSUPP: `this kernel makes no vlan links (load its module: modprobe 8021q), or ${name} carries no VLANs`,
})

/** The vlan plugin. */
export const vlan = defineContainerLink({
  type: 'vlan',
  // Unless one is asked for.
  ownMac: false,
  conf: vlanConf,
  async plan(attachment) {
    const { conf } = attachment
    const mac = macOf(attachment, true)
    // Read now: what is wrong with IPAM is to be refused here, too.
    void attachment.ipam
    const master = carrierOf(await findMaster(attachment))
    return { mac, master, mtu: lowerMtu(conf.mtu, master) }
  },
  make(attachment, { mac, master, mtu }) {
    const { vlanId: id, protocol } = attachment.conf
    const data = { id, protocol: protocolOf(protocol) }
    return addLower(attachment, { master, kind: { kind: 'vlan', data }, mac, mtu }, reasons(master, id))
  },
  explain: (error, { master }) => explainLink(error, 'vlan', master, {}),
  async check(attachment, found) {
    const { conf } = attachment
    const { id, protocol } = (found.kind === 'vlan' ? found.data : undefined) ?? {}
    checkFacts(found, [
      ['VLAN', id, conf.vlanId],
      ['protocol', protocol, protocolOf(conf.protocol)],
      ['MAC', found.address, macOf(attachment, true) || undefined],
    ])
    await checkMaster(attachment, found)
  },
  async status(context) {
    const master = await checkLower(context, 'vlan')
    if (master) lowerMtu(context.conf.mtu, carrierOf(master))
  },
})
