/** VLANs of a bridge and of its ports. Needs a bridge with `vlanFiltering` to have an effect. */

import { MalformedError } from './codec/reader.ts'
import { AF_BRIDGE } from './family.ts'
import { RTEXT_FILTER } from './link/attributes.ts'
import { bridgeMessageLayout, vlanInfoFlags } from './link/bridge-message.ts'
import { change, dump, type Request } from './request.ts'

const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_SETLINK = 19

/** A VLAN, or a run of them that are treated alike. */
export interface VlanRange {
  /** 1 to 4094. */
  readonly vid: number
  /** The last of the run. Default: `vid`. */
  readonly last?: number | undefined
  /** What comes in untagged is in this VLAN. Of one VLAN at most, so never of a run. */
  readonly pvid?: boolean | undefined
  /** What goes out in this VLAN is untagged. */
  readonly untagged?: boolean | undefined
}

/** A port, or a bridge, and its VLANs. */
export interface PortVlans {
  /** Of the link. */
  readonly index: number
  readonly name: string
  /** Of the bridge; the link's own index for the bridge itself. */
  readonly master: number | undefined
  /** By number. */
  readonly vlans: readonly Required<{ [K in keyof VlanRange]: NonNullable<VlanRange[K]> }>[]
}

interface VlanInfo {
  readonly flags: number
  readonly vid: number
}

/** A run is two attributes: its begin and its end. */
const encodeRange = ({ vid, last = vid, pvid, untagged }: VlanRange): VlanInfo[] => {
  if (!Number.isInteger(vid) || !Number.isInteger(last) || vid < 1 || last > 4094 || last < vid)
    throw new RangeError(
      `${vid === last ? vid : `${vid}-${last}`} is not a VLAN, or a run of them, from 1 to 4094`,
    )
  if (pvid && last > vid) throw new RangeError(`only one VLAN can be the pvid, not ${vid}-${last}`)
  const flags = (pvid ? vlanInfoFlags.pvid : 0) | (untagged ? vlanInfoFlags.untagged : 0)
  return last === vid
    ? [{ flags, vid }]
    : [
        { flags: flags | vlanInfoFlags.rangeBegin, vid },
        { flags: flags | vlanInfoFlags.rangeEnd, vid: last },
      ]
}

const decodeRanges = (infos: readonly VlanInfo[]): PortVlans['vlans'] => {
  const ranges: PortVlans['vlans'][number][] = []
  let begin: VlanInfo | undefined
  for (const { flags, vid } of infos) {
    if (flags & vlanInfoFlags.rangeBegin) {
      begin = { flags, vid }
      continue
    }
    if (flags & vlanInfoFlags.rangeEnd && !begin)
      throw new MalformedError(`a run of VLANs ends at ${vid} unbegun`)
    const first = flags & vlanInfoFlags.rangeEnd ? begin!.vid : vid
    begin = undefined
    ranges.push({
      vid: first,
      last: vid,
      pvid: (flags & vlanInfoFlags.pvid) !== 0,
      untagged: (flags & vlanInfoFlags.untagged) !== 0,
    })
  }
  return ranges
}

/** Whom {@link add} and {@link remove} mean. */
export interface VlanTarget {
  /** The link itself: for the VLANs of a bridge. Default: the link as a port of its bridge. */
  readonly self?: boolean | undefined
}

const vlanRequest = (
  verb: string,
  type: number,
  index: number,
  vlans: readonly VlanRange[],
  { self }: VlanTarget,
): Request<void> =>
  change(bridgeMessageLayout, {
    op: `${verb} VLANs of link ${index}`,
    type,
    header: { family: AF_BRIDGE, index },
    attributes: {
      afSpec: { flags: self ? { self: true } : undefined, vlanInfo: vlans.flatMap(encodeRange) },
    },
  })

/**
 * Adds VLANs to a port (or, with `self`, to a bridge), any number with one request. Equivalent:
 * `bridge vlan add vid N[-M] dev LINK [pvid] [untagged] [self]` for each.
 *
 * Not atomic: after an error the VLANs before the one that was refused are there.
 *
 * Errors: ENODEV, EOPNOTSUPP (no port of a bridge, or a kernel without bridge VLAN filtering), EINVAL.
 * @throws RangeError for what is no VLAN
 */
export const add = (index: number, vlans: readonly VlanRange[], target: VlanTarget = {}): Request<void> =>
  vlanRequest('add', RTM_SETLINK, index, vlans, target)

/**
 * Takes VLANs from a port (or, with `self`, from a bridge); what {@link list} gives can be passed on. Those it does not
 * have are passed over. Equivalent: `bridge vlan del vid N[-M] dev LINK [self]` for each.
 *
 * Errors: ENODEV, EOPNOTSUPP.
 * @throws RangeError for what is no VLAN
 */
const remove = (index: number, vlans: readonly VlanRange[], target: VlanTarget = {}): Request<void> =>
  vlanRequest(
    'delete',
    RTM_DELLINK,
    index,
    vlans.map(({ vid, last }) => ({ vid, last })),
    target,
  )

export { remove as delete }

/**
 * The VLANs of all ports and bridges, or of one. Equivalent: `bridge -c vlan show [dev LINK]`. Ports without VLANs, and
 * those of bridges in a kernel without VLAN filtering, have an empty list.
 */
export const list = ({ index }: { readonly index?: number | undefined } = {}): Request<PortVlans[]> =>
  dump(
    bridgeMessageLayout,
    {
      op: 'list VLANs',
      type: RTM_GETLINK,
      header: { family: AF_BRIDGE },
      attributes: { extMask: RTEXT_FILTER.brvlanCompressed },
    },
    ({ index: found, attributes }) =>
      index !== undefined && found !== index
        ? undefined
        : {
            index: found,
            name: attributes.ifname ?? '',
            master: attributes.master,
            vlans: decodeRanges(attributes.afSpec?.vlanInfo ?? []),
          },
  )
