/** The chain that is measured: a routed bridge with masquerade, a port mapping, and a firewall. */
import type { JsonObject } from '../../cni/types.ts'
import type { Owner } from '../cases.ts'
import { classic } from '../setting.ts'

/** What the runtime passes for the port mapping. */
export const portMappings = ({ net }: Owner): JsonObject[] => [
  { hostPort: 8000 + net, containerPort: 80, protocol: 'tcp' },
]

/** The plugins in their order, as a list has them. */
export const pluginsOf = (owner: Owner): JsonObject[] => {
  const { cniVersion, name, ...bridge } = classic({
    name: owner.name,
    bridge: `cni-${owner.name}`,
    subnet: `10.${owner.net}.0.0/16`,
    ipMasq: true,
  })
  return [bridge, { type: 'portmap', capabilities: { portMappings: true }, snat: true }, { type: 'firewall' }]
}

export const cniVersion = '1.0.0'

/** The list as a file has it. */
export const listOf = (owner: Owner): string =>
  JSON.stringify({ cniVersion, name: owner.name, plugins: pluginsOf(owner) })

/** What one of the plugins gets, as libcni makes it. */
export const confOf = (owner: Owner, plugin: JsonObject, prevResult: JsonObject | null): JsonObject => ({
  ...plugin,
  cniVersion,
  name: owner.name,
  ...(plugin.capabilities ? { runtimeConfig: { portMappings: portMappings(owner) } } : {}),
  ...(prevResult ? { prevResult } : {}),
})
