/** Port mappings without the plugin around them: what the nftables backend is given, and what nft says of it. */
import { UndoStack } from '../../../cni/undo.ts'
import type { Connection } from '../../../netlink/index.ts'
import type { Forwarding, PortMapping } from '../../../plugins/portmap/forwarding.ts'
import { addNftables, deleteNftables, missingNftables } from '../../../plugins/portmap/nftables.ts'
import type { Space } from '../../support/space.ts'

/** An attachment with the given mappings, by default 8080/tcp to 10.22.0.5:80 and its like of IPv6. */
export const forwarding = (more: Partial<Forwarding> = {}): Forwarding => ({
  network: 'net',
  ifName: 'eth0',
  containerId: 'one',
  addresses: ['10.22.0.5/16', 'fd00::5/64'],
  mappings: [tcp(8080)],
  snat: true,
  masqAll: false,
  conditionsV4: [],
  conditionsV6: [],
  markMasqBit: 13,
  externalSetMarkChain: '',
  ...more,
})

export const tcp = (hostPort: number, more: Partial<PortMapping> = {}): PortMapping => ({
  hostPort,
  containerPort: 80,
  protocol: 'tcp',
  ...more,
})

/** ADD; `undo` takes it back. */
export const add = async (hostNftables: Connection, wanted: Forwarding): Promise<UndoStack> => {
  const undo = new UndoStack()
  await addNftables({ hostNftables, undo }, wanted)
  return undo
}
export const missing = (hostNftables: Connection, wanted: Forwarding): Promise<string[]> =>
  missingNftables({ hostNftables }, wanted)
/** DEL, without a prevResult. */
export const del = (hostNftables: Connection, owner: Forwarding): Promise<readonly PortMapping[]> =>
  deleteNftables({ hostNftables, prevResult: null, ifName: owner.ifName }, owner)

/** Everything, without handles. */
export const ruleset = (host: Space): Promise<string> => host.must('nft', ['list', 'ruleset'])

/** Elements of a set or map as nft prints them, comments taken off, sorted. */
export const elements = async (host: Space, family: 'ip' | 'ip6', set: string): Promise<string[]> => {
  const kind = set.startsWith('portmap_snat') ? 'set' : 'map'
  const text = await host.must('nft', ['list', kind, family, 'cni_hostport', set])
  const list = /elements = \{([^}]*)\}/s.exec(text)?.[1] ?? ''
  return list
    .replaceAll(/ comment "[^"]*"/g, '')
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .sort()
}
