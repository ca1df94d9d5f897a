/** Who attaches a container to the chain: by execution, plugin after plugin, or in process. */
import { type Added, type OpenHost, parseConfList, runChain } from '../../cni/index.ts'
import type { JsonObject } from '../../cni/types.ts'
import type { Owner } from '../cases.ts'
import { type Contestant, pathOf } from '../contestant.ts'
import type { Execution, Launcher } from '../launcher.ts'
import { confOf, listOf, pluginsOf, portMappings } from './network.ts'

/**
 * The plugins of a folder, as a runtime executes them. What the runtime itself does between them is not counted.
 * @param name of the container @param env further variables
 */
export const executing = (
  launcher: Launcher,
  binDir: string,
  owner: Owner,
  name: string,
  env?: Execution['env'],
): Contestant => {
  let last: JsonObject | null = null
  return {
    name,
    async run(verb) {
      const all = pluginsOf(owner)
      let took = 0
      let previous: JsonObject | null = verb === 'ADD' ? null : last
      for (const plugin of verb === 'ADD' ? all : all.toReversed()) {
        const executed = await launcher.run({
          binDir,
          type: String(plugin.type),
          command: verb,
          conf: confOf(owner, plugin, previous),
          containerId: name,
          netns: pathOf(name),
          env,
        })
        took += executed.took
        if (verb === 'ADD') previous = executed.json
      }
      last = verb === 'ADD' ? previous : null
      return took
    },
  }
}

/** Ours, as a program calls the chain. */
export const calling = (host: OpenHost, owner: Owner, name: string, cacheDir: string): Contestant => {
  const network = parseConfList(listOf(owner))
  const call = { host, network, cacheDir, containerId: name, ifName: 'eth0', netnsPath: pathOf(name) }
  return {
    name,
    async run(verb) {
      const start = performance.now()
      const added: Added | null = await runChain({
        ...call,
        verb,
        capabilityArgs: { portMappings: portMappings(owner) },
      })
      const took = performance.now() - start
      if (verb === 'ADD' && !added) throw new Error('an ADD without a result')
      return took
    },
  }
}
