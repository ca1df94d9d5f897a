import type { JsonObject } from '../cni/types.ts'

/** Where the bench runs, and how long. This process's own namespace plays the host. */
export interface Setting {
  /** A folder for what has to be on a disk; removed at the end. */
  readonly scratch: string
  /** The compiled floor.c and launch.c. */
  readonly floor: string
  readonly launch: string
  /** Folder of our executables. */
  readonly ours: string
  /** Folder of the peers' executables; null where there are none. */
  readonly peers: string | null
  readonly quick: boolean
  /** Says what is going on. */
  readonly progress: (text: string) => void
}

export interface Network {
  readonly name: string
  readonly bridge: string
  readonly subnet: string
  readonly ipMasq: boolean
}

/** The classic configuration: a bridge that is the containers' gateway, addresses by host-local. */
export const classic = ({ name, bridge, subnet, ipMasq }: Network): JsonObject => ({
  cniVersion: '1.0.0',
  name,
  type: 'bridge',
  bridge,
  isGateway: true,
  ipMasq,
  ipam: { type: 'host-local', subnet, routes: [{ dst: '0.0.0.0/0' }] },
})

/** What a runtime passes with DEL. */
export const withPrevious = (conf: JsonObject, prevResult: JsonObject): JsonObject => ({
  ...conf,
  prevResult,
})
