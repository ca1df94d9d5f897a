/** Which plugins are measured against the reference ones, and how they are configured. */
import type { JsonObject } from '../cni/types.ts'
import { link, type Request } from '../netlink/index.ts'
import { classic } from './setting.ts'

/** Whose attachment it is: everybody has a network of his own. */
export interface Owner {
  /** A few letters. */
  readonly name: string
  /** The second byte of its addresses. */
  readonly net: number
}

export interface Case {
  /** In the table, after the verb. */
  readonly name: string
  readonly type: string
  /** Whether the plugin is also called in process, against the reference one's execution. */
  readonly inProcess: boolean
  /** What has to be on the host. */
  readonly prepare?: ((owner: Owner) => Request<void>[]) | undefined
  conf(owner: Owner): JsonObject
}

const subnet = ({ net }: Owner): string => `10.${net}.0.0/16`

const bridge = (ipMasq: boolean): Case => ({
  name: ipMasq ? 'bridge with ipMasq' : 'bridge',
  type: 'bridge',
  inProcess: false,
  conf: (owner) =>
    classic({
      name: `${owner.name}${ipMasq ? '-masq' : ''}`,
      bridge: `cni-${owner.name}`,
      subnet: subnet(owner),
      ipMasq,
    }),
})

/** With addresses of host-local, as the bridge's. */
const addressed = (
  type: string,
  name: string,
  keys: (owner: Owner) => JsonObject,
): Omit<Case, 'prepare'> => ({
  name,
  type,
  inProcess: true,
  conf: (owner) => ({
    cniVersion: '1.0.0',
    name: `${name.replaceAll(' ', '-')}-${owner.name}`,
    type,
    ...keys(owner),
    ipam: { type: 'host-local', subnet: subnet(owner), routes: [{ dst: '0.0.0.0/0' }] },
  }),
})

/** An interface of the host whose wire is plugged in. */
const wire = (prefix: string) => (owner: Owner) => {
  const name = `${prefix}-${owner.name}`
  const peer = `${prefix}x-${owner.name}`
  return [
    link.add({ kind: 'veth', name, up: true, data: { peer: { name: peer } } }),
    link.set(peer, { up: true }),
  ]
}

export const cases: readonly Case[] = [
  bridge(true),
  bridge(false),
  addressed('ptp', 'ptp with ipMasq', () => ({ ipMasq: true })),
  addressed('ptp', 'ptp', () => ({})),
  {
    ...addressed('macvlan', 'macvlan', ({ name }) => ({ master: `mv-${name}` })),
    prepare: wire('mv'),
  },
  {
    ...addressed('host-device', 'host-device', ({ name }) => ({ device: `hd-${name}` })),
    prepare: wire('hd'),
  },
]
