import { invalidConfig } from '../../cni/error.ts'
import type { BridgeConf } from './conf.ts'

/** VLAN ids a bridge port can have: 802.1Q without 0 and 4095. */
const MAX_VID = 4094

/** The port's VLANs, as the configuration asks for them. */
export interface PortVlans {
  /** The untagged VLAN (PVID); 0: none asked for. */
  readonly untagged: number
  /** Tagged VLANs as inclusive ranges, sorted, without overlaps. */
  readonly tagged: readonly (readonly [first: number, last: number])[]
}

const checked = (id: number, what: string): number => {
  if (id < 1 || id > MAX_VID)
    throw invalidConfig(
      `incorrect trunk ${what} parameter`,
      `vlanTrunk: ${what} is ${id}, expected 1 to ${MAX_VID}`,
    )
  return id
}

/**
 * The VLANs of `vlan` and `vlanTrunk`.
 * @throws CniError code 7, in the words of the Go plugin
 */
export const portVlans = ({ vlan, vlanTrunk }: Pick<BridgeConf, 'vlan' | 'vlanTrunk'>): PortVlans => {
  if (vlan < 0 || vlan > MAX_VID)
    throw invalidConfig(`invalid VLAN ID ${vlan} (must be between 0 and ${MAX_VID})`)
  const ids = new Set<number>()
  for (const { id, minID, maxID } of vlanTrunk ?? []) {
    if (minID !== undefined && maxID !== undefined) {
      checked(minID, 'minID')
      checked(maxID, 'maxID')
      if (minID > maxID) throw invalidConfig('minID is greater than maxID in trunk parameter')
      for (let vid = minID; vid <= maxID; vid++) ids.add(vid)
    } else if (minID !== undefined || maxID !== undefined)
      throw invalidConfig(
        `minID and maxID should be configured simultaneously, ${minID === undefined ? 'minID' : 'maxID'} is missing`,
      )
    if (id !== undefined) ids.add(checked(id, 'id'))
  }
  const tagged: [number, number][] = []
  for (const vid of [...ids].sort((a, b) => a - b)) {
    const last = tagged.at(-1)
    if (last && last[1] === vid - 1) last[1] = vid
    else tagged.push([vid, vid])
  }
  return { untagged: vlan, tagged }
}

/** Whether the bridge has to filter VLANs for this configuration. */
export const wantsFiltering = ({ vlan, vlanTrunk }: Pick<BridgeConf, 'vlan' | 'vlanTrunk'>): boolean =>
  vlan !== 0 || vlanTrunk !== undefined
