/** Removing rules, in whatever backend they are: the configuration may have changed, and others may have made them. */
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { AttachmentId } from '../../cni/types.ts'
import { Failures } from '../shared/failures.ts'
import { hasLegacyTable, listLegacyTable } from '../shared/iptables.ts'
import { nftablesFilter, withFirewalld } from './backend.ts'
import { bridgesOf, unusedBridges } from './bridge.ts'
import { type Addresses, addressesOf, type FirewallConf, noAddresses, zoneOf } from './conf.ts'
import type { FilterTables, Lists, Version } from './filter.ts'
import { IptablesFilter } from './filter-iptables.ts'
import { ownerText } from './owner.ts'
import {
  type BridgePolicy,
  isolatedBridges,
  isolationChanges,
  isolationRemoval,
  policiesIn,
} from './plan-isolation.ts'
import { collectionOf, type Removal, removalOf } from './plan-removal.ts'
import { OWNERS, PERMITS, STAGE_1, STAGE_2 } from './rules.ts'

const versions = [4, 6] as const

type Host = Context<FirewallConf> & Partial<Pick<Attachment<unknown>, 'undo'>>

interface Place {
  readonly tables: FilterTables
  readonly versions: readonly Version[]
}

/** Where rules may be: nf_tables, and the old xtables where these hold a filter table. */
const places = async (host: Host): Promise<Place[]> => {
  const found: Place[] = []
  const nft = nftablesFilter(host)
  if (nft) found.push({ tables: nft, versions: [...versions] })
  for (const version of versions) {
    if (!hasLegacyTable(host.hostNetns, version, 'filter')) continue
    const legacy = await listLegacyTable(host, version, 'filter')
    if (legacy) found.push({ tables: new IptablesFilter(host.exec, () => legacy.table), versions: [version] })
  }
  return found
}

const bridgeChains = [STAGE_1, STAGE_2]
const chains = [PERMITS, OWNERS, ...bridgeChains]

interface Going {
  /** The attachment's, by the result of ADD. */
  readonly addresses: Addresses
  /** Which rules for addresses go. */
  plan(lists: Lists, addresses: readonly string[]): Removal
  /** Of bridges that have rules, those that may have lost their last container. */
  bridges(isolated: ReadonlySet<string>): Promise<ReadonlySet<string>>
}

/**
 * Removes the rules of bridges that have no container. Which ones these are is looked up in each try: the ADD of one that
 * comes meanwhile changes the tables, too, so that what was looked up before it is not carried out. In tables that do
 * not tell, and where that ADD had nothing to change, the rules come back.
 */
const removeIsolation = async (
  { tables, versions }: Place,
  unused: () => Promise<ReadonlySet<string>>,
): Promise<void> => {
  if ((await unused()).size === 0) return
  const removed = new Map<Version, readonly BridgePolicy[]>()
  await tables.change(versions, bridgeChains, async (version, lists) => {
    const going = await unused()
    removed.set(version, policiesIn(lists, going))
    return isolationRemoval(lists, going)
  })
  const still = await unused()
  const lost = (version: Version) => (removed.get(version) ?? []).filter(({ bridge }) => !still.has(bridge))
  const hurt = versions.filter((version) => lost(version).length > 0)
  if (hurt.length === 0) return
  await tables.change(hurt, bridgeChains, (version, lists) =>
    lost(version).flatMap((policy) => isolationChanges(lists, policy)),
  )
}

/** What the tables of one place know of addresses. */
interface Removed {
  /** Nobody's now, with the zone of firewalld's that they are in, where that is known. */
  readonly free: ReadonlyMap<string, string | undefined>
  /** The attachment's by its result, and another's by these tables. */
  readonly claimed: ReadonlySet<string>
}

/** The rules for addresses, then those of bridges. */
const removeFrom = async (place: Place, { addresses, plan, bridges }: Going): Promise<Removed> => {
  const free = new Map<string, string | undefined>()
  const claimed = new Set<string>()
  const isolated = new Set<string>()
  const { tables, versions } = place
  await tables.change(versions, chains, (version, lists) => {
    const removal = plan(lists, addresses[version])
    // A plan that is made again may find them gone.
    for (const address of removal.free) free.set(address, removal.zones.get(address) ?? free.get(address))
    for (const address of addresses[version]) if (!removal.free.includes(address)) claimed.add(address)
    for (const bridge of isolatedBridges(lists)) isolated.add(bridge)
    return removal.changes
  })
  if (isolated.size > 0) await removeIsolation(place, () => bridges(isolated))
  return { free, claimed }
}

/** Takes addresses out of firewalld's zones, where it runs. */
const removeSources = async (
  host: Host,
  failures: Failures,
  sources: ReadonlyMap<string, string | undefined>,
): Promise<void> => {
  const { conf, log } = host
  const remove = withFirewalld(host, async (firewalld) => {
    for (const [source, zone = zoneOf(conf)] of firewalld ? sources : [])
      await failures.attempt(() => firewalld?.removeSource(zone, source))
  })
  // Its rules are elsewhere: a bus that is out of order must not keep it from going.
  if (conf.backend !== 'iptables' && conf.backend !== 'nftables') await failures.attempt(() => remove)
  else
    await remove.catch((error: Error) => {
      log.warn(`firewalld was not asked for ${[...sources.keys()].join(', ')}: ${error.message}`)
    })
}

/** @throws CniError what could not be removed, after everything else was tried */
const remove = async (host: Host, going: Going): Promise<void> => {
  const failures = new Failures()
  const sources = new Map<string, string | undefined>()
  for (const address of [...going.addresses[4], ...going.addresses[6]]) sources.set(address, undefined)
  const claimed = new Set<string>()
  for (const place of (await failures.attempt(() => places(host))) ?? []) {
    const removed = await failures.attempt(() => removeFrom(place, going))
    for (const [address, zone] of removed?.free ?? []) sources.set(address, zone ?? sources.get(address))
    for (const address of removed?.claimed ?? []) claimed.add(address)
  }
  for (const address of claimed) sources.delete(address)
  if (sources.size > 0) await removeSources(host, failures, sources)
  failures.raise()
}

/**
 * Removes everything of an attachment. What is gone is no error.
 * @throws CniError what could not be removed, after everything else was tried
 */
export const removeAttachment = (attachment: Attachment<FirewallConf>): Promise<void> => {
  const { prevResult, network } = attachment
  const owner = ownerText(network, attachment)
  return remove(attachment, {
    addresses: prevResult ? addressesOf(prevResult) : noAddresses,
    plan: (lists, addresses) => removalOf(lists, owner, addresses),
    async bridges(isolated) {
      const own = await bridgesOf(attachment, attachment)
      // Nothing tells which one it was on: its ADD has been undone, while the last container went.
      if (own.size === 0) return unusedBridges(attachment, isolated)
      return unusedBridges(
        attachment,
        [...isolated].filter((bridge) => own.has(bridge)),
        attachment,
      )
    },
  })
}

/** Removes what is left of a network's attachments that are not in the list, and of bridges without containers. */
export const collect = (context: Context<FirewallConf>, valid: readonly AttachmentId[]): Promise<void> => {
  const { network } = context
  const any = ownerText(network, { containerId: '', ifName: '' })
  const owners = valid.map((one) => ownerText(network, one))
  return remove(context, {
    addresses: noAddresses,
    plan: (lists) => collectionOf(lists, any, owners),
    bridges: (isolated) => unusedBridges(context, isolated),
  })
}
