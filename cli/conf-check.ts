/** What can be told of a network's configuration before it is used. */
import { readConf } from '../cni/attachment.ts'
import { ownIpamPlugin } from '../cni/ipam.ts'
import type { Plugins } from '../cni/plugin.ts'
import type { JsonObject } from '../cni/types.ts'
import { checkVersion, versionOf } from '../cni/version.ts'

/** Plugins that work on what another one has made: no chain begins with them. */
export const chained: ReadonlySet<string> = new Set([
  'bandwidth',
  'firewall',
  'portmap',
  'sbr',
  'tuning',
  'vrf',
])

/**
 * As an ADD validates it before it touches anything. Of a plugin that is not ours nothing is known.
 * @param conf as the plugin gets it
 * @throws CniError
 */
export const validateConf = (plugins: Plugins, type: string, conf: JsonObject): void => {
  const own = plugins.get(type)
  if (!own) return
  checkVersion('ADD', versionOf(conf), own.versions)
  const ipam = own.kind === 'interface' ? ownIpamPlugin(conf, plugins) : undefined
  readConf(own, conf)
  if (!ipam) return
  checkVersion('ADD', versionOf(conf), ipam.versions)
  readConf(ipam, conf)
}
