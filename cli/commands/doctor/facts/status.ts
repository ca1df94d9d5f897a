/** What the plugins of each network say to STATUS. */
import { runChain } from '../../../../cni/chain.ts'
import { CniError } from '../../../../cni/error.ts'
import type { Plugins } from '../../../../cni/plugin.ts'
import { allows, currentVersion } from '../../../../cni/version.ts'
import { see } from '../see.ts'
import type { NetworkFacts, PluginFacts, Problem } from './conf-dir.ts'

export interface StatusFacts {
  readonly network: string
  /** Where it is in the list, from 0. */
  readonly index: number
  readonly type: string
  /**
   * Null where it was not asked: STATUS came with version 1.1.0, and what is not ours may not know it, or may be what
   * others than root have put there.
   */
  readonly answer: { readonly code: number; readonly problem: Problem | null } | null
}

export interface StatusOptions {
  readonly plugins: Plugins
  /** CNI_PATH. */
  readonly path: string
  /** Whether what a runtime finds for a type that is not ours may be executed. */
  readonly isTrusted: (type: string) => boolean
  readonly environment: Readonly<Record<string, string>>
  /** Milliseconds for each plugin. */
  readonly timeout: number
}

/** Whether all that would be asked is ours, and so can be asked whatever version the configuration has. */
const isOurs = ({ own, ipam }: PluginFacts, plugins: Plugins): boolean =>
  own && (ipam === '' || plugins.has(ipam))

/** Whether nothing is executed that others than root could have put there. */
const isSafe = ({ own, type, ipam }: PluginFacts, { plugins, isTrusted }: StatusOptions): boolean =>
  (own || isTrusted(type)) && (ipam === '' || (own && plugins.has(ipam)) || isTrusted(ipam))

const ask = async (
  { name, conf }: NetworkFacts,
  plugin: PluginFacts,
  index: number,
  options: StatusOptions,
): Promise<StatusFacts> => {
  const { plugins, path, environment, timeout } = options
  const facts = { network: name, index, type: plugin.type }
  const ours = isOurs(plugin, plugins)
  const isAsked = ours || (allows(conf.cniVersion, 'STATUS') && isSafe(plugin, options))
  if (plugin.problem || !isAsked) return { ...facts, answer: null }
  const network = {
    ...conf,
    ...(ours && { cniVersion: currentVersion }),
    plugins: [conf.plugins[index]!],
  }
  const outcome = await see(timeout, async (signal) => {
    try {
      await runChain({
        verb: 'STATUS',
        network,
        path,
        cacheDir: null,
        host: { plugins, environment },
        signal,
      })
      return { code: 0, problem: null }
    } catch (error) {
      const { code, msg, details } = CniError.from(error)
      return { code, problem: { msg, details } }
    }
  })
  const answer = outcome.seen ? outcome.value : { code: 999, problem: { msg: outcome.why } }
  return { ...facts, answer }
}

/** Asks every plugin by itself, so that each is heard. */
export const askStatus = async (
  networks: readonly NetworkFacts[],
  options: StatusOptions,
): Promise<readonly StatusFacts[]> => {
  const answers: StatusFacts[] = []
  for (const network of networks)
    for (const [index, plugin] of network.plugins.entries())
      answers.push(await ask(network, plugin, index, options))
  return answers
}
