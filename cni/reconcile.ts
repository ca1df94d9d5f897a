/**
 * Making again what others have taken out of the host's rule sets while containers ran (`firewall-cmd --reload`,
 * `nft flush ruleset`, `iptables -F`): the cache of attachments says what ought to be there.
 */
import { address, isErrno, link } from '../netlink/index.ts'
import { prepare } from './attachment.ts'
import { type CacheEntry, defaultCacheDir, listCache, mayBeOf } from './cache.ts'
import { confFor, runChain } from './chain.ts'
import { type NetworkConf, parseConfList, parseSingleConf } from './conflist.ts'
import { type CallOptions, type Host, inSession, targetOf } from './dispatch.ts'
import { CniError } from './error.ts'
import { openHost } from './host.ts'
import { parseOwnResult, toVersion } from './result.ts'
import type { Session } from './session.ts'
import type { AttachmentId, Result } from './types.ts'
import { versionOf } from './version.ts'

/** Where to look, and for what. */
export interface ReconcileOptions extends Pick<CallOptions, 'signal'> {
  readonly host: Host
  /** Where attachments are remembered, by libcni or by `runChain`. Default `/var/lib/cni`. */
  readonly cacheDir?: string | undefined
  /** CNI_PATH, for plugins that are not ours, where an attachment has to be deleted. */
  readonly path?: string | undefined
  /** Only attachments of this network. Default: of all. */
  readonly network?: string | undefined
  /** Where a cached list has no plugins of its own: finds the network with those from its directory. */
  readonly findNetwork?: ((name: string) => NetworkConf) | undefined
}

/** What one plugin made again. */
export interface Repair {
  /** The plugin's type. */
  readonly type: string
  /** What was missing, in words. */
  readonly missing: readonly string[]
}

/** What became of one attachment. */
export interface Reconciled extends AttachmentId {
  readonly network: string
  /** What was missing and is there again; nothing: an empty list. */
  readonly repairs: readonly Repair[]
  /** Why it was left alone; null where it was looked at. */
  readonly skipped: string | null
  /** What could not be repaired, plugin by plugin. */
  readonly errors: readonly CniError[]
}

const networkOf = (
  { config, network }: CacheEntry,
  find: ((name: string) => NetworkConf) | undefined,
): NetworkConf => {
  try {
    return /"plugins"\s*:/i.test(config) ? parseConfList(config) : parseSingleConf(config)
  } catch (error) {
    if (!find) throw error
    try {
      return find(network)
    } catch (second) {
      const { code, msg } = CniError.from(error)
      throw new CniError({ code, msg, details: CniError.from(second).msg, cause: error })
    }
  }
}

/** Why the attachment is no running one; null where it is. Rules for what has gone would lead to somebody else. */
const whyGone = async (session: Session, { ips = [] }: Result): Promise<string | null> => {
  const { ifName } = session.target
  if (!session.netns) return session.gone().msg
  try {
    const { index } = await session.container.run(link.get(ifName))
    if (ips.length === 0) return null
    const present = await session.container.run(address.list({ index }))
    const has = (cidr: string): boolean =>
      present.some((own) => own.address.split('/')[0] === cidr.split('/')[0])
    return ips.some((ip) => has(ip.address)) ? null : `${ifName} has none of the addresses of the result`
  } catch (error) {
    if (isErrno(error, 'ENODEV')) return `there is no interface ${ifName} in the container`
    throw error
  }
}

const repairAll = async (
  session: Session,
  entry: CacheEntry,
  network: NetworkConf,
): Promise<Pick<Reconciled, 'repairs' | 'errors' | 'skipped'>> => {
  const repairs: Repair[] = []
  const errors: CniError[] = []
  const skip = (why: string) => ({ repairs, errors, skipped: why })
  const result = entry.result ? parseOwnResult(entry.result, '0.1.0') : null
  if (!result) return skip('the cache has no result of it')
  const why = await whyGone(session, result)
  if (why !== null) return skip(why)
  const prevResult = toVersion(result, network.cniVersion || '0.1.0')
  for (const plugin of network.plugins) {
    const own = session.host.plugins.get(plugin.type)
    if (!own?.repair) continue
    try {
      const rawConf = confFor({ network, capabilityArgs: entry.capabilityArgs }, plugin, { prevResult })
      const cniVersion = versionOf(rawConf)
      // Read as strictly as for a CHECK: what would be made of a configuration that does not hold is not made.
      const call = { session, network: network.name, cniVersion, rawConf, prevResult: result }
      const missing = await own.repair(prepare(own, { ...call, verb: 'CHECK' }))
      if (missing.length > 0) repairs.push({ type: plugin.type, missing })
    } catch (error) {
      const { code, msg, details } = CniError.from(error)
      errors.push(new CniError({ code, msg: `${plugin.type}: ${msg}`, details, cause: error }))
    }
  }
  return { repairs, errors, skipped: null }
}

const reconcileOne = async (entry: CacheEntry, options: ReconcileOptions): Promise<Reconciled> => {
  const { network, containerId, ifName, netnsPath, args } = entry
  const { host, signal, path = '' } = options
  const id = { network, containerId, ifName }
  try {
    const conf = networkOf(entry, options.findNetwork)
    const target = targetOf({ verb: 'DEL', containerId, ifName, netnsPath, args, path })
    return {
      ...id,
      ...(await inSession(host, target, signal, (session) => repairAll(session, entry, conf))),
    }
  } catch (error) {
    return { ...id, repairs: [], skipped: null, errors: [CniError.from(error)] }
  }
}

const keyOf = ({ network, containerId, ifName }: Pick<CacheEntry, 'network' | 'containerId' | 'ifName'>) =>
  `${network}/${containerId}/${ifName}`

/**
 * A DEL that ran meanwhile had removed its rules, perhaps, before they were made again here: what the cache has lost
 * since is deleted once more.
 */
const deleteAgain = async (entry: CacheEntry, options: ReconcileOptions): Promise<CniError[]> => {
  const { containerId, ifName, netnsPath, args, capabilityArgs } = entry
  const { host, signal, path, cacheDir } = options
  const call = { host, signal, path, cacheDir, containerId, ifName, netnsPath, args, capabilityArgs }
  try {
    const network = networkOf(entry, options.findNetwork)
    await runChain({ ...call, verb: 'DEL', network })
    return []
  } catch (error) {
    return [CniError.from(error)]
  }
}

/**
 * Looks at each running attachment that the cache knows, and lets its plugins make again what is missing of NAT, port
 * mappings and firewall rules. What is in place is not touched; an attachment whose namespace, interface or addresses
 * have gone is left to GC.
 * Equivalent: `linkwright reconcile`.
 * @returns an entry an attachment, in the order of the cache
 * @throws Error where the cache can't be read, while a file of it that can't is told to the log; what is wrong with one attachment is in its entry
 */
export const reconcile = async (options: ReconcileOptions): Promise<Reconciled[]> => {
  const { cacheDir = defaultCacheDir, network, signal } = options
  const select = (entries: readonly CacheEntry[]) =>
    entries.filter((entry) => network === undefined || entry.network === network)
  using host = openHost(options.host)
  const shared = { ...options, host }
  const cached = listCache(cacheDir)
  for (const one of cached.unreadable)
    if (network === undefined || mayBeOf(network, one))
      host.log?.warn(`${one.path} stands for an attachment that is not looked at: ${one.why}`)
  const entries = select(cached.entries)
  const outcomes: Reconciled[] = []
  for (const entry of entries) {
    signal?.throwIfAborted()
    outcomes.push(await reconcileOne(entry, shared))
  }
  const left = new Set(select(listCache(cacheDir).entries).map(keyOf))
  for (const [i, entry] of entries.entries()) {
    const outcome = outcomes[i]!
    if (outcome.repairs.length === 0 || left.has(keyOf(entry))) continue
    const errors = await deleteAgain(entry, shared)
    outcomes[i] = { ...outcome, repairs: [], skipped: 'it was deleted meanwhile', errors }
  }
  return outcomes
}
