import type { JsonObject } from '../cni/types.ts'

/** In which form our plugins are executed. */
export interface Program {
  /** `archive`: as `npm run dist` packs it, for hosts without Node. `scripts`: as the npm package has it. */
  readonly kind: 'archive' | 'scripts'
  /** The command line, which is the daemon too. */
  readonly linkwright: string
  /** The Node that is in it, or that runs it: by itself, to compare with. */
  readonly node: string
  /** Of that Node: `v24.21.0`. */
  readonly version: string
}

/** Where the bench runs, and how long. This process's own namespace plays the host. */
export interface Setting {
  /** A folder for what has to be on a disk; removed at the end. */
  readonly scratch: string
  /** The compiled floor.c and launch.c. */
  readonly floor: string
  readonly launch: string
  /** A compiled C program that does nothing. */
  readonly nothing: string
  /** Folder of our executables: launchers, which find their standalone program. */
  readonly ours: string
  readonly program: Program
  /** Folder of those that Node scripts are behind, whatever `ours` is. */
  readonly scripts: string
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
