/** `ptp`: each container on a wire of its own to the host, which routes between them and to the world. */
import * as z from 'zod/mini'
import { invalidConfig } from '../../cni/error.ts'
import type { Ipam } from '../../cni/ipam.ts'
import { type Context, definePlugin } from '../../cni/plugin.ts'
import { commonConf, flag, mac, mtu } from '../../cni/schema.ts'
import { allVersions } from '../../cni/types.ts'
import { familyOf } from '../../netlink/index.ts'
import { assign } from '../shared/assign.ts'
import {
  checkConfiguration,
  checkFailed,
  checkLink,
  containerInterface,
  requirePrevResult,
} from '../shared/check.ts'
import { configureLink } from '../shared/configure.ts'
import { chooseDns } from '../shared/dns.ts'
import { enableForwarding } from '../shared/forwarding.ts'
import { macOf } from '../shared/mac.ts'
import {
  masqueradeBackend,
  masqueradeStatus,
  repairMasquerade,
  setUpMasquerade,
} from '../shared/masquerade.ts'
import { containerNetns } from '../shared/netns.ts'
import { interfaceEntry, ownAddresses } from '../shared/result.ts'
import { addVeth } from '../shared/veth.ts'
import { collectAttachments, removeAttachment } from '../shared/veth-attachment.ts'
import { checkForwarding, checkHostEnd, checkMasquerading } from '../shared/veth-check.ts'
import { checkPaths, pathsOf, routesInside, serve } from './paths.ts'

/** Every key of the ptp plugin. */
export const ptpConf = z.object({
  ...commonConf,
  ipMasq: flag,
  ipMasqBackend: masqueradeBackend,
  /** Of both ends of the pair. 0: the kernel's default, 1500. */
  mtu: z._default(mtu, 0),
  mac: z.optional(mac),
})

/** Index of the container's interface in the result. */
const CONTAINER = 1
/** What a new veth has, ETH_DATA_LEN of linux/if_ether.h. */
const DEFAULT_MTU = 1500

/** @throws CniError where none is named: without addresses there is nothing to route */
const requireIpam = ({ ipam }: Context<unknown>): Ipam => {
  if (ipam) return ipam
  throw invalidConfig(
    'no plugin name provided',
    'ptp routes addresses: name the plugin that assigns them in "ipam.type"',
  )
}

/** The ptp plugin. */
export const ptp = definePlugin({
  type: 'ptp',
  kind: 'interface',
  versions: allVersions,
  conf: ptpConf,

  async add(attachment) {
    const { conf, hostNetns, ifName, netnsPath } = attachment
    const asked = macOf(attachment, true)
    requireIpam(attachment)
    containerNetns(attachment)
    const assigned = (await assign(attachment)) ?? {}
    const ips = (assigned.ips ?? []).map(({ address: own, gateway }) => ({
      address: own,
      gateway,
      interface: CONTAINER,
    }))
    const paths = pathsOf(ips)
    const routes = assigned.routes ?? []
    const families = new Set(paths.containers.map(familyOf))
    const pair = { mtu: conf.mtu, mac: asked, hostDad: families.has(6) ? false : undefined }
    const { hostName, hostIndex, hostMac, index, mac } = await addVeth(attachment, pair)
    const { before, after } = routesInside(index, paths)
    // Only the host is on the wire, and this pair is new to it.
    const quiet = { dad: false, arpNotify: false }
    const setup = { index, name: ifName, ips, routes, before, after, ...quiet }
    await configureLink(attachment, setup)
    await serve(attachment, hostIndex, paths)
    if (conf.ipMasq)
      await setUpMasquerade(
        attachment,
        ips.map((ip) => ip.address),
      )
    // Last, because nothing takes it back.
    enableForwarding(hostNetns, families)
    const mtu = conf.mtu || DEFAULT_MTU
    return {
      interfaces: [
        interfaceEntry(attachment, { name: hostName, address: hostMac, mtu }),
        interfaceEntry(attachment, { name: ifName, address: mac, mtu }, netnsPath),
      ],
      ips,
      routes,
      dns: chooseDns(conf.dns, assigned.dns),
    }
  },

  async check(attachment) {
    const { conf, container } = attachment
    const ipam = requireIpam(attachment)
    const result = requirePrevResult(attachment)
    const entry = containerInterface(result, attachment)
    // Plugins behind this one may change the container's MTU.
    const inside = await checkLink(container, { ...entry, mtu: undefined }, 'veth')
    if (!inside.up) throw checkFailed(`interface ${inside.name} is down`)
    const end = await checkHostEnd(attachment, result, inside)
    if (!end.up) throw checkFailed(`interface ${end.name} is down`)
    // What results before 1.1.0 do not tell.
    if (conf.mtu !== 0 && end.mtu !== conf.mtu)
      throw checkFailed(`interface ${end.name} has MTU ${end.mtu}, the configuration says ${conf.mtu}`)
    await ipam.check()
    await checkConfiguration(attachment, inside, result)
    const ips = ownAddresses(result, attachment)
    const paths = pathsOf(ips)
    await checkPaths(attachment, inside, end, paths)
    checkForwarding(attachment, paths.containers.map(familyOf))
    await checkMasquerading(attachment, ips)
  },

  del: (attachment) => removeAttachment(attachment, null),

  async status(context) {
    const ipam = requireIpam(context)
    await masqueradeStatus(context)
    await ipam.status()
  },

  gc: (context, valid) => collectAttachments(context, valid),

  async repair(attachment) {
    const ips = ownAddresses(requirePrevResult(attachment), attachment)
    return await repairMasquerade(
      attachment,
      ips.map((ip) => ip.address),
    )
  },
})
