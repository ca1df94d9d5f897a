/** What attachments need of the kernel: where it is in the kernel's sources, and which configurations need it. */
import { isObject, lookup } from '../../../cni/fold.ts'
import type { JsonObject } from '../../../cni/types.ts'
import type { LinkFeature, TrafficFeature } from '../../../netlink/probe.ts'

export type Feature = LinkFeature | TrafficFeature

export interface FeatureInfo {
  /** Of the finding. */
  readonly id: string
  readonly title: string
  /** The module that has it. */
  readonly module: string
  /** What the kernel is built with. */
  readonly option: string
  /** Whether the module has it in any case: an option of its own can be off. */
  readonly partial?: boolean
  /** Nothing of ours needs it, but what stands beside us may (flannel's daemon has vxlan). */
  readonly optional?: boolean
}

const linkKind = (name: string, module: string, option: string): FeatureInfo => ({
  id: `kernel.link.${name}`,
  title: `links of kind ${name}`,
  module,
  option,
})

/** All of them, in the order of the report. */
export const features: Readonly<Record<Feature, FeatureInfo>> = {
  veth: linkKind('veth', 'veth', 'CONFIG_VETH'),
  bridge: linkKind('bridge', 'bridge', 'CONFIG_BRIDGE'),
  'bridge-vlan-filtering': {
    id: 'kernel.bridge-vlan-filtering',
    title: 'bridges that filter VLANs',
    module: 'bridge',
    option: 'CONFIG_BRIDGE_VLAN_FILTERING',
    partial: true,
  },
  macvlan: linkKind('macvlan', 'macvlan', 'CONFIG_MACVLAN'),
  ipvlan: linkKind('ipvlan', 'ipvlan', 'CONFIG_IPVLAN'),
  'ipvlan-l3s': {
    id: 'kernel.ipvlan-l3s',
    title: 'ipvlan in mode l3s',
    module: 'ipvlan',
    option: 'CONFIG_IPVLAN_L3S',
    partial: true,
  },
  vlan: linkKind('vlan', '8021q', 'CONFIG_VLAN_8021Q'),
  dummy: linkKind('dummy', 'dummy', 'CONFIG_DUMMY'),
  vrf: linkKind('vrf', 'vrf', 'CONFIG_NET_VRF'),
  ifb: linkKind('ifb', 'ifb', 'CONFIG_IFB'),
  tun: linkKind('tun', 'tun', 'CONFIG_TUN'),
  vxlan: { ...linkKind('vxlan', 'vxlan', 'CONFIG_VXLAN'), optional: true },
  tbf: { id: 'kernel.qdisc.tbf', title: 'qdisc tbf', module: 'sch_tbf', option: 'CONFIG_NET_SCH_TBF' },
  htb: { id: 'kernel.qdisc.htb', title: 'qdisc htb', module: 'sch_htb', option: 'CONFIG_NET_SCH_HTB' },
  ingress: {
    id: 'kernel.qdisc.ingress',
    title: 'qdisc ingress',
    module: 'sch_ingress',
    option: 'CONFIG_NET_SCH_INGRESS',
  },
  u32: { id: 'kernel.filter.u32', title: 'filter u32', module: 'cls_u32', option: 'CONFIG_NET_CLS_U32' },
  matchall: {
    id: 'kernel.filter.matchall',
    title: 'filter matchall',
    module: 'cls_matchall',
    option: 'CONFIG_NET_CLS_MATCHALL',
    optional: true,
  },
  mirred: {
    id: 'kernel.action.mirred',
    title: 'action mirred',
    module: 'act_mirred',
    option: 'CONFIG_NET_ACT_MIRRED',
  },
}

const usesVlans = (conf: JsonObject): boolean =>
  ((lookup(conf, 'vlan') ?? 0) as number) !== 0 || lookup(conf, 'vlanTrunk') !== undefined

const shapesSubnets = (conf: JsonObject): boolean => {
  const runtime = lookup(conf, 'runtimeConfig')
  const inner = isObject(runtime) ? lookup(runtime, 'bandwidth') : undefined
  return [conf, ...(isObject(inner) ? [inner] : [])].some(
    (block) => lookup(block, 'shapedSubnets') !== undefined || lookup(block, 'unshapedSubnets') !== undefined,
  )
}

/** What an ADD of a plugin of ours needs, by its configuration. */
export const needsOf = (type: string, conf: JsonObject): readonly Feature[] => {
  switch (type) {
    case 'bridge':
      return ['veth', 'bridge', ...(usesVlans(conf) ? (['bridge-vlan-filtering'] as const) : [])]
    case 'ptp':
      return ['veth']
    case 'macvlan':
    case 'vlan':
    case 'dummy':
    case 'vrf':
      return [type]
    case 'ipvlan':
      return ['ipvlan', ...(lookup(conf, 'mode') === 'l3s' ? (['ipvlan-l3s'] as const) : [])]
    case 'tap':
      return ['tun']
    case 'bandwidth':
      return ['ifb', 'tbf', 'ingress', 'u32', 'mirred', ...(shapesSubnets(conf) ? (['htb'] as const) : [])]
    case 'flannel': {
      const delegate = lookup(conf, 'delegate') ?? {}
      if (!isObject(delegate)) return []
      const inner = lookup(delegate, 'type') ?? 'bridge'
      return inner === 'flannel' || typeof inner !== 'string' ? [] : needsOf(inner, delegate as JsonObject)
    }
    default:
      return []
  }
}
