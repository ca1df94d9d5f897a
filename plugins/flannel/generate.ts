/** The configuration of the plugin that makes the interface. */
import { isObject, lookup } from '../../cni/fold.ts'
import { sortKeys } from '../../cni/json.ts'
import type { Context } from '../../cni/plugin.ts'
import type { Json, JsonObject } from '../../cni/types.ts'
import type { FlannelConf } from './conf.ts'
import type { SubnetEnv } from './subnet-file.ts'

type Network = Pick<Context<FlannelConf>, 'conf' | 'rawConf' | 'network'>

const objectOf = (rawConf: JsonObject, key: string): JsonObject | undefined => {
  const value = lookup(rawConf, key)
  return isObject(value) ? (value as JsonObject) : undefined
}

/** What `ipam` says, with the node's subnets and routes to the network behind those that it has. */
const ipamOf = (given: JsonObject, env: SubnetEnv | null): JsonObject => {
  const { type = 'host-local', routes } = given
  if (!env) return { ...given, type }
  const more = env.networks.map((dst): Json => ({ dst }))
  return {
    ...given,
    type,
    ranges: env.subnets.map((subnet) => [{ subnet }]),
    routes: [...(Array.isArray(routes) ? routes : []), ...more],
  }
}

/**
 * The delegate's configuration, its keys in the order in which it is kept. What `delegate` says wins.
 * @param env null for taking away: without what only a new attachment needs
 */
export const generate = ({ conf, rawConf, network }: Network, env: SubnetEnv | null): JsonObject => {
  const given = (conf.delegate ?? {}) as JsonObject
  const { type = 'bridge' } = given
  const runtimeConfig = objectOf(rawConf, 'runtimeConfig')
  const cniVersion = lookup(rawConf, 'cniVersion')
  return sortKeys({
    ...(env && { ipMasq: !env.ipMasq, mtu: env.mtu }),
    ...(type === 'bridge' && { isGateway: true }),
    ...given,
    type,
    name: network,
    ...(typeof cniVersion === 'string' && cniVersion !== '' && { cniVersion }),
    ...(runtimeConfig && { runtimeConfig }),
    ipam: ipamOf(objectOf(rawConf, 'ipam') ?? {}, env),
  })
}
