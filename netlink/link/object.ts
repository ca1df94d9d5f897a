/** What the kernel tells of a link, as an object that is easy to use. */
import type { Attributes, UnknownAttribute, UnknownKind } from '../codec/table.ts'
import type { Value } from '../codec/types.ts'
import { type Choice, unpackFlags } from '../codec/values.ts'
import type { afSpec, briefAfSpec } from './af-spec.ts'
import type { xdp } from './attributes.ts'
import { IFF, type linkModes, linkTypes, type operStates } from './flags.ts'
import type { kinds, portKinds } from './kinds.ts'
import type { linkTable } from './layout.ts'
import { type Statistics, toStatistics } from './statistics.ts'

/** What every link has. */
export interface LinkFacts {
  /** Its number in its namespace; from 1. */
  readonly index: number
  readonly name: string
  readonly altNames: readonly string[]
  /** What it carries: `'ether'`, `'loopback'`, `'none'`, …, or the number of an ARPHRD_* that has no name here. */
  readonly type: keyof typeof linkTypes | number
  readonly flags: { readonly [K in keyof typeof IFF]: boolean }
  /** `flags.up`: whether an administrator set it up. Whether it works is `operState`. */
  readonly up: boolean
  /** RFC 2863: `'up'`, `'down'`, `'lowerlayerdown'`, `'unknown'` (the driver does not say: loopback, tun), … */
  readonly operState: Choice<typeof operStates>
  /** Whether the lower layer has a signal; undefined where the interface is down or its driver does not say. */
  readonly carrier: boolean | undefined
  readonly linkMode: Choice<typeof linkModes> | undefined
  /** Bytes. */
  readonly mtu: number
  readonly minMtu: number | undefined
  readonly maxMtu: number | undefined
  /** Link-layer address; empty where the type has none. */
  readonly address: string
  readonly broadcast: string
  /** The address the hardware came with. */
  readonly permanentAddress: string | undefined
  /** Index of the bridge, bond or VRF that it is a port of. */
  readonly master: number | undefined
  /** Index of the lower interface, or of the peer of a veth; in the namespace `linkNetnsId`, where that is given. */
  readonly link: number | undefined
  /** Identifier, in this namespace, of the one `link` lives in. */
  readonly linkNetnsId: number | undefined
  /** Packets. */
  readonly txQueueLength: number | undefined
  readonly qdisc: string | undefined
  readonly alias: string | undefined
  readonly group: number
  /** How many users want it promiscuous. */
  readonly promiscuity: number
  readonly allMulti: number | undefined
  readonly numTxQueues: number | undefined
  readonly numRxQueues: number | undefined
  readonly gsoMaxSegs: number | undefined
  readonly gsoMaxSize: number | undefined
  readonly protoDown: boolean | undefined
  readonly xdp: Attributes<typeof xdp.rows> | undefined
  /** Settings by address family: `afSpec.inet.conf.arpNotify`, `afSpec.inet6.addrGenMode`. */
  readonly afSpec: Value<typeof afSpec> | undefined
  /** Where they were asked for. */
  readonly statistics: Statistics | undefined
  readonly parentDevice: string | undefined
  readonly parentBus: string | undefined
  /** Attributes that this library has no row for. */
  readonly unknown: readonly UnknownAttribute[]
}

/** `kind` tells the type of `data`: `if (link.kind === 'bridge') link.data?.vlanFiltering`. */
export type LinkKind =
  | {
      [K in keyof typeof kinds]: {
        readonly kind: K
        readonly data: Value<(typeof kinds)[K]> | undefined
        readonly rawData?: undefined
      }
    }[keyof typeof kinds]
  | {
      /** IFLA_INFO_KIND: undefined for hardware and loopback. */
      readonly kind: string | undefined
      readonly data?: undefined
      /** IFLA_INFO_DATA of a kind without a table. */
      readonly rawData?: Uint8Array | undefined
    }

/** The same for what the master keeps of its port: `if (link.portKind === 'bridge') link.portData?.hairpin`. */
export type LinkPort =
  | {
      [K in keyof typeof portKinds]: {
        readonly portKind: K
        readonly portData: Value<(typeof portKinds)[K]> | undefined
        readonly rawPortData?: undefined
      }
    }[keyof typeof portKinds]
  | {
      readonly portKind: string | undefined
      readonly portData?: undefined
      readonly rawPortData?: Uint8Array | undefined
    }

/** A network interface. */
export type Link = LinkFacts & LinkKind & LinkPort

/** Of a link, how it is plugged in: what a request tells that asks for no more. */
interface BriefFacts
  extends Pick<LinkFacts, 'index' | 'name' | 'altNames' | 'type' | 'flags' | 'up' | 'operState' | 'carrier'>,
    Pick<LinkFacts, 'mtu' | 'address' | 'master' | 'link' | 'linkNetnsId' | 'alias'> {
  /** Of all its settings whether it heeds router advertisements. */
  readonly afSpec: Value<typeof briefAfSpec> | undefined
}

type BriefKind =
  | { readonly kind: string | undefined }
  | {
      readonly kind: 'bridge'
      readonly data: Pick<Value<typeof kinds.bridge>, 'vlanFiltering' | 'vlanDefaultPvid'> | undefined
    }

/** A network interface in brief. Every {@link Link} is one. */
export type BriefLink = BriefFacts & BriefKind

/** The header of a link message. */
export interface LinkHeader {
  readonly index: number
  readonly type: number
  readonly flags: number
}

const typeNames = new Map<number, keyof typeof linkTypes>(
  Object.entries(linkTypes).map(([name, number]) => [number, name as keyof typeof linkTypes]),
)

/** Makes a {@link Link} of a message's header and attributes. */
export const toLink = (
  header: LinkHeader,
  attributes: Attributes<(typeof linkTable)['rows']>,
  withStatistics = false,
): Link => {
  const flags = unpackFlags(IFF, header.flags)
  const own = attributes.linkinfo?.own
  const port = attributes.linkinfo?.port
  const facts = {
    index: header.index,
    name: attributes.ifname ?? '',
    altNames: attributes.propList ?? [],
    type: typeNames.get(header.type) ?? header.type,
    flags,
    up: flags.up,
    operState: attributes.operstate ?? 'unknown',
    carrier: attributes.carrier,
    linkMode: attributes.linkmode,
    mtu: attributes.mtu ?? 0,
    minMtu: attributes.minMtu,
    maxMtu: attributes.maxMtu,
    address: attributes.address ?? '',
    broadcast: attributes.broadcast ?? '',
    permanentAddress: attributes.permAddress,
    master: attributes.master,
    link: attributes.link,
    linkNetnsId: attributes.linkNetnsid,
    txQueueLength: attributes.txqlen,
    qdisc: attributes.qdisc,
    alias: attributes.ifalias,
    group: attributes.group ?? 0,
    promiscuity: attributes.promiscuity ?? 0,
    allMulti: attributes.allmulti,
    numTxQueues: attributes.numTxQueues,
    numRxQueues: attributes.numRxQueues,
    gsoMaxSegs: attributes.gsoMaxSegs,
    gsoMaxSize: attributes.gsoMaxSize,
    protoDown: attributes.protoDown,
    xdp: attributes.xdp,
    afSpec: attributes.afSpec,
    statistics: withStatistics && attributes.stats64 ? toStatistics(attributes.stats64) : undefined,
    parentDevice: attributes.parentDevName,
    parentBus: attributes.parentDevBusName,
    unknown: attributes.unknown ?? [],
    kind: own?.kind,
    data: own?.data,
    rawData: (own as UnknownKind | undefined)?.raw,
    portKind: port?.kind,
    portData: port?.data,
    rawPortData: (port as UnknownKind | undefined)?.raw,
  } satisfies LinkFacts & Record<keyof LinkKind | keyof LinkPort, unknown>
  return facts as Link
}
