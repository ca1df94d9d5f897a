/** The layout of RTM_NEWLINK, RTM_DELLINK and RTM_GETLINK. */
import { type Selected, selected, table } from '../codec/table.ts'
import { bytes, type Codec } from '../codec/types.ts'
import { afSpec, briefAfSpec } from './af-spec.ts'
import { flatRows, ifinfomsg } from './attributes.ts'
import { kinds, portKinds } from './kinds.ts'

/** Kind and data of a link. */
export type KindInfo = Selected<typeof kinds>
/** Kind and data of a link as a port of its master. */
export type PortInfo = Selected<typeof portKinds>

interface LinkInfo {
  readonly own?: KindInfo | undefined
  readonly port?: PortInfo | undefined
}

/** `IFLA_INFO_*`: twice a kind and its data, side by side in one nest. */
const linkInfoOf = (own: Codec<KindInfo>, port: Codec<PortInfo>): Codec<LinkInfo> => ({
  nested: true,
  write(writer, value) {
    if (value.own) own.write(writer, value.own)
    if (value.port) port.write(writer, value.port)
  },
  read(payload) {
    const ownInfo = own.read(payload)
    const portInfo = port.read(payload)
    return {
      own: ownInfo.kind === '' ? undefined : ownInfo,
      port: portInfo.kind === '' ? undefined : portInfo,
    }
  },
})

const linkInfo = linkInfoOf(selected(1, 2, kinds), selected(4, 5, portKinds))

const only = { only: true } as const
const { vlanFiltering, vlanDefaultPvid } = kinds.bridge.rows
/** The kinds, and of a bridge what its ports have to know. */
const briefInfo = linkInfoOf(
  selected(1, 2, { bridge: table({ vlanFiltering, vlanDefaultPvid }, only) }, only),
  selected(4, 5, {}, only),
)

export const linkTable = table(
  {
    ...flatRows,
    linkinfo: [18, linkInfo],
    /** For AF_BRIDGE `IFLA_BRPORT_*`, for AF_INET6 `IFLA_INET6_*`; only in messages of those families. */
    protinfo: [12, bytes],
    afSpec: [26, afSpec],
  },
  { dense: true },
)

const { address, ifname, mtu, link, master, operstate, ifalias, carrier, linkNetnsid, propList } = flatRows
/** What a plugin asks of a link: a message has 150 attributes, and most of the time goes into reading the others. */
const briefTable = table(
  {
    ...{ address, ifname, mtu, link, master, operstate, ifalias, carrier, linkNetnsid, propList },
    linkinfo: [18, briefInfo],
    afSpec: [26, briefAfSpec],
  },
  { dense: true, only: true },
)

export const linkLayout = { header: ifinfomsg, attributes: linkTable } as const
export const briefLayout = { header: ifinfomsg, attributes: briefTable } as const
