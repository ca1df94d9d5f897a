/**
 * A network's plugins one after another, as libcni runs them (spec section 3), but with ours in process: nothing is
 * forked for them, and they share one session. Deliberately different from libcni: a failed ADD is undone at once,
 * ours completely and foreign plugins by their DEL, so that nothing waits for the runtime's own DEL.
 */
import { type Action, type Call, readConf } from './attachment.ts'
import { defaultCacheDir, listCache, mayBeOf, readCachedResult, removeCache, writeCache } from './cache.ts'
import type { NetworkConf, PluginConf } from './conflist.ts'
import { executePlugin, findPlugin, notAsked, parseOutput } from './delegate.ts'
import { type Added, type CallOptions, carryOut, type Invocation, inSession, targetOf } from './dispatch.ts'
import { checkNetworkName } from './environment.ts'
import { CniError, codes } from './error.ts'
import { ownIpamPlugin } from './ipam.ts'
import { goString } from './json.ts'
import { toVersion } from './result.ts'
import type { Host, Session } from './session.ts'
import type { AttachmentId, JsonObject, Result } from './types.ts'
import { allows, checkVersion, currentVersion, versionOf } from './version.ts'

/** What to do with a network. */
export interface ChainOptions extends CallOptions, Omit<Invocation, 'conf' | 'stdin'> {
  readonly verb: Action
  readonly network: NetworkConf
  readonly host: Host
  /** What the runtime offers, by capability; each plugin gets what it declares, in `runtimeConfig`. */
  readonly capabilityArgs?: JsonObject | undefined
  /** Where attachments are remembered. Default `/var/lib/cni`, as for libcni; null: nowhere. */
  readonly cacheDir?: string | null | undefined
  /**
   * GC: the attachments that stay. Without it every cached attachment of the network is deleted, and the plugins are
   * not told to remove anything else.
   */
  readonly valid?: readonly AttachmentId[] | undefined
  /**
   * GC: asks plugins of ours what else to remove in configurations older than 1.1.0, too, which have no GC. A runtime
   * keeps to the spec; an operator who calls for it wants everything gone. Plugins that are executed are not asked, and
   * the log says so. Default false.
   */
  readonly anyVersion?: boolean | undefined
}

/** Keys of a plugin's configuration, whatever their case, give way to what is injected. */
const inject = (conf: JsonObject, values: JsonObject): JsonObject => {
  const taken = new Set(Object.keys(values).map((key) => key.toLowerCase()))
  const result: Record<string, JsonObject[string]> = {}
  for (const key in conf) if (!taken.has(key.toLowerCase()) && key !== '__proto__') result[key] = conf[key]
  return Object.assign(result, values)
}

/** @internal The configuration that one plugin of the chain gets. */
export const confFor = (
  { network, capabilityArgs = {} }: Pick<ChainOptions, 'network' | 'capabilityArgs'>,
  { conf, capabilities }: PluginConf,
  more: JsonObject,
): JsonObject => {
  const offered = capabilities.filter((name) => Object.hasOwn(capabilityArgs, name))
  return inject(conf, {
    name: network.name,
    cniVersion: network.cniVersion,
    ...more,
    ...(offered.length > 0
      ? { runtimeConfig: Object.fromEntries(offered.map((name) => [name, capabilityArgs[name]])) }
      : {}),
  })
}

/** `type="bridge" name="net"`: how libcni names a plugin in errors. */
const describe = ({ type, conf }: PluginConf): string =>
  `plugin type=${goString(type)}${typeof conf.name === 'string' && conf.name !== '' ? ` name=${goString(conf.name)}` : ''}`

const prefixed = (prefix: string, error: unknown): CniError => {
  const { code, msg, details } = CniError.from(error)
  return new CniError({ code, msg: prefix + msg, details, cause: error })
}

/** One plugin, one verb: in process where it is ours. Foreign ones get the configuration printed. */
const runPlugin = async (
  session: Session,
  options: ChainOptions,
  plugin: PluginConf,
  rawConf: JsonObject,
  more: Partial<Call> = {},
): Promise<Added | null> => {
  const { verb, network } = options
  const { type } = plugin
  const own = session.host.plugins.get(type)
  const cniVersion = versionOf(rawConf)
  if (own) return await carryOut(own, { session, verb, network: network.name, cniVersion, rawConf, ...more })
  session.guard()
  const stdin = JSON.stringify(rawConf)
  if (verb !== 'ADD') {
    await executePlugin({ session, type, verb, stdin })
    return null
  }
  // Before it runs, and with the newest result there is: its DEL may need what it has printed.
  let newest = stdin
  session.undo.push(`DEL of the plugin ${type}`, async () => {
    await executePlugin({ session, type, verb: 'DEL', stdin: newest })
  })
  const stdout = await executePlugin({ session, type, verb, stdin })
  const result = parseOutput(stdout, cniVersion, type)
  const json = toVersion(result, cniVersion)
  newest = JSON.stringify(inject(rawConf, { prevResult: json }))
  return { result, json }
}

/** Nothing is touched before every configuration of ours is known to be good, and every other plugin is there. */
const validate = (session: Session, options: ChainOptions): unknown[] =>
  options.network.plugins.map((plugin) => {
    try {
      const own = session.host.plugins.get(plugin.type)
      if (!own) {
        findPlugin(plugin.type, session.target.path)
        return undefined
      }
      const rawConf = confFor(options, plugin, {})
      checkVersion('ADD', versionOf(rawConf), own.versions)
      if (own.kind === 'interface') ownIpamPlugin(rawConf, session.host.plugins)
      return readConf(own, rawConf)
    } catch (error) {
      throw prefixed(`${describe(plugin)} failed (add): `, error)
    }
  })

const addAll = async (session: Session, options: ChainOptions, cacheDir: string | null): Promise<Added> => {
  const { network, capabilityArgs = {} } = options
  const { containerId, ifName, netnsPath, args } = session.target
  const confs = validate(session, options)
  session.checkNetns()
  let added: Added | undefined
  for (const [i, plugin] of network.plugins.entries())
    try {
      const rawConf = confFor(options, plugin, added ? { prevResult: added.json } : {})
      const more = { conf: confs[i], ...(added ? { prevResult: added.result } : {}) }
      added = (await runPlugin(session, options, plugin, rawConf, more)) ?? undefined
    } catch (error) {
      throw prefixed(`${describe(plugin)} failed (add): `, error)
    }
  if (!added) throw new CniError({ code: codes.invalidConfig, msg: 'no plugin configs found' })
  if (cacheDir !== null) {
    const key = { network: network.name, containerId, ifName }
    session.undo.push('forget the result', () => removeCache(cacheDir, key))
    try {
      const entry = { ...key, config: network.text, netnsPath, args, capabilityArgs, result: added.json }
      writeCache(cacheDir, entry)
    } catch (error) {
      throw prefixed(`failed to set network ${goString(network.name)} cached result: `, error)
    }
  }
  session.guard()
  await options.deliver?.(added.json)
  return added
}

/** The last result of the attachment, where the version has it passed on. @throws CniError code 7 */
const cachedResult = (
  session: Session,
  { network }: ChainOptions,
  cacheDir: string | null,
): Result | null => {
  if (cacheDir === null || !allows(network.cniVersion, 'CHECK')) return null
  const { containerId, ifName } = session.target
  return readCachedResult(cacheDir, { network: network.name, containerId, ifName })
}

const delAll = async (session: Session, options: ChainOptions, cacheDir: string | null): Promise<void> => {
  const { network } = options
  const { containerId, ifName } = session.target
  session.checkNetns()
  let prevResult: Result | null = null
  let more: JsonObject = {}
  try {
    prevResult = cachedResult(session, options, cacheDir)
    if (prevResult) more = { prevResult: toVersion(prevResult, network.cniVersion) }
  } catch (error) {
    session.log.warn(`the cached result is of no use: ${(error as Error).message}`, { network: network.name })
    prevResult = null
  }
  for (const plugin of network.plugins.toReversed())
    try {
      const known = prevResult ? { prevResult } : {}
      await runPlugin(session, options, plugin, confFor(options, plugin, more), known)
    } catch (error) {
      throw prefixed(`${describe(plugin)} failed (delete): `, error)
    }
  if (cacheDir !== null) removeCache(cacheDir, { network: network.name, containerId, ifName })
}

const checkAll = async (session: Session, options: ChainOptions, cacheDir: string | null): Promise<void> => {
  const { network } = options
  let prevResult: Result | null
  try {
    prevResult = cachedResult(session, options, cacheDir)
  } catch (error) {
    throw prefixed(`failed to get network ${goString(network.name)} cached result: `, error)
  }
  const more = prevResult ? { prevResult: toVersion(prevResult, network.cniVersion) } : {}
  const known = prevResult ? { prevResult } : {}
  for (const plugin of network.plugins)
    await runPlugin(session, options, plugin, confFor(options, plugin, more), known)
}

/** Deletes what the cache knows and the list does not, then lets each plugin look for more. Returns all errors. */
const collect = async (options: ChainOptions, cacheDir: string | null): Promise<CniError[]> => {
  const { network, valid, host, signal, anyVersion = false } = options
  const errors: CniError[] = []
  const keep = new Set(valid?.map(({ containerId, ifName }) => `${containerId}/${ifName}`))
  const cached = cacheDir === null ? { entries: [], unreadable: [] } : listCache(cacheDir)
  for (const one of cached.unreadable.filter((file) => mayBeOf(network.name, file)))
    host.log?.warn(`${one.path} stands for an attachment that is not deleted: ${one.why}`, {
      network: network.name,
    })
  for (const entry of cached.entries) {
    const { containerId, ifName, netnsPath, args, capabilityArgs } = entry
    if (entry.network !== network.name || keep.has(`${containerId}/${ifName}`)) continue
    try {
      await runChain({ ...options, verb: 'DEL', containerId, ifName, netnsPath, args, capabilityArgs })
    } catch (error) {
      errors.push(prefixed(`failed to delete stale attachment ${containerId} ${ifName}: `, error))
    }
  }
  const hasGc = allows(network.cniVersion, 'GC')
  if (!hasGc && !anyVersion) return errors
  const list = valid?.map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }))
  const more: JsonObject = list ? { 'cni.dev/valid-attachments': list, 'cni.dev/attachments': list } : {}
  await inSession(host, targetOf(options), signal, async (session) => {
    for (const plugin of network.plugins)
      try {
        const rawConf = confFor(options, plugin, more)
        if (!hasGc && !host.plugins.has(plugin.type)) notAsked(session, plugin.type, rawConf)
        else await runPlugin(session, options, plugin, rawConf, hasGc ? {} : { cniVersion: currentVersion })
      } catch (error) {
        errors.push(prefixed(`failed to GC plugin ${plugin.type}: `, error))
      }
  })
  return errors
}

const gcAll = async (options: ChainOptions, cacheDir: string | null): Promise<void> => {
  const [first, ...others] = await collect(options, cacheDir)
  if (!first) return
  if (others.length === 0) throw first
  const details = [first.details, ...others.map(({ message }) => message)].filter(Boolean).join('; ')
  throw new CniError({ code: first.code, msg: first.msg, details, cause: first })
}

/**
 * Runs a network's plugins for one attachment (ADD, CHECK, DEL) or for the network (STATUS, GC), with libcni's order,
 * injected keys and cache.
 * Equivalent: `cnitool add NETWORK NETNS` and so on.
 * @returns the final result of an ADD; null for the other verbs
 * @throws CniError of the plugin that failed; after a failed ADD nothing is left. GC goes on after errors and throws
 * the first with the others in its details
 */
export const runChain = async (options: ChainOptions): Promise<Added | null> => {
  const { verb, network, host, signal } = options
  const cacheDir = options.cacheDir === undefined ? defaultCacheDir : options.cacheDir
  checkNetworkName(network.name)
  const within = <T>(operation: (session: Session) => Promise<T>): Promise<T> =>
    inSession(host, targetOf(options), signal, operation)
  const ofNetwork = { ...options, containerId: '', ifName: '', netnsPath: '', args: '', capabilityArgs: {} }
  switch (verb) {
    case 'ADD':
      return await within((session) => addAll(session, options, cacheDir))
    case 'DEL':
      await within((session) => delAll(session, options, cacheDir))
      return null
    case 'CHECK':
      if (!allows(network.cniVersion, 'CHECK'))
        throw new CniError({
          code: codes.incompatibleVersion,
          msg: `configuration version ${goString(network.cniVersion)} does not support the CHECK command`,
        })
      if (!network.disableCheck) await within((session) => checkAll(session, options, cacheDir))
      return null
    case 'STATUS':
      if (!allows(network.cniVersion, 'STATUS')) return null
      await inSession(host, targetOf(ofNetwork), signal, async (session) => {
        for (const plugin of network.plugins)
          await runPlugin(session, ofNetwork, plugin, confFor(ofNetwork, plugin, {}))
      })
      return null
    case 'GC':
      if (!network.disableGC) await gcAll(ofNetwork, cacheDir)
      return null
  }
}
