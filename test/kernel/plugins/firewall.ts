/** What tests of the firewall plugin share: attachments by bridge and firewall, and the filter tables as programs see them. */
import type { JsonObject } from '../../../cni/types.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container, Space } from '../../support/space.ts'
import type { Node, NodeCall } from './node.ts'

export const firewallConf = (more: JsonObject = {}): JsonObject => ({ type: 'firewall', ...more })

/** A result of an earlier plugin. */
export const resultWith = (addresses: readonly string[], bridge = 'cni0'): PrintedResult => ({
  cniVersion: '1.1.0',
  interfaces: [{ name: bridge }, { name: 'veth0' }, { name: 'eth0', sandbox: '/run/netns/x' }],
  ips: addresses.map((address) => ({ address, interface: 2 })),
})

/** The lines of `iptables -S` of filter, policies left out. */
export const filterRules = async (space: Space, program = 'iptables'): Promise<string[]> =>
  (await space.must(program, ['-S'])).split('\n').filter((line) => line !== '' && !line.startsWith('-P'))

/** Those of a chain. */
export const rulesOf = async (space: Space, chain: string, program = 'iptables'): Promise<string[]> =>
  (await filterRules(space, program))
    .filter((line) => line.startsWith(`-A ${chain} `))
    .map((line) => line.slice(`-A ${chain} `.length))

/** Lines that name an address. */
export const naming = async (space: Space, address: string, program = 'iptables'): Promise<string[]> =>
  (await filterRules(space, program)).filter((line) => line.includes(`${address}/`))

/** What a bridge plugin of before has done, and an attachment of ours to it. */
export interface Attached {
  readonly container: Container
  readonly call: NodeCall & { readonly prevResult: PrintedResult }
}

/** Each address with its gateway: `{ '10.22.0.5/16': '10.22.0.1' }`. */
export type Fixed = Readonly<Record<string, string>>

/** ADD of a bridge with fixed addresses, then of the firewall. */
export const attach = async (
  it: Node,
  name: string,
  addresses: Fixed,
  { bridge = 'cni0', conf = {} }: { bridge?: string; conf?: JsonObject } = {},
): Promise<Attached> => {
  const container = await it.host.container(name)
  const all = Object.entries(addresses).map(([address, gateway]) => ({ address, gateway }))
  const routes = all.map(({ address }) => ({ dst: address.includes(':') ? '::/0' : '0.0.0.0/0' }))
  const ipam = { type: 'static', addresses: all, routes }
  const before = await it.add({ bridge, isGateway: true, ipam }, { container, containerId: name })
  const call = { container, containerId: name, prevResult: before }
  const prevResult = await it.add(firewallConf(conf), call)
  return { container, call: { ...call, prevResult } }
}
