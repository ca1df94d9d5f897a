/** Making an attachment's rules, and what is missing of them. */
import { CniError } from '../../cni/error.ts'
import type { Result } from '../../cni/types.ts'
import { type Backend, withBackend, withFirewalld } from './backend.ts'
import { keepPorts, requireBridge, unusedBridges } from './bridge.ts'
import {
  type Addresses,
  addressesOf,
  adminChainOf,
  type FirewallAttachment,
  type FirewallConf,
  policyOfConf,
  zoneOf,
} from './conf.ts'
import { type Change, type FilterTables, type Lists, rulesIn, type Version } from './filter.ts'
import { sameRule } from './filter-rule.ts'
import type { Firewalld } from './firewalld.ts'
import { ownerKey, ownerText, zonedOwner } from './owner.ts'
import { chainsOf, missingOf, planAdd, versionsOf, type Wanted } from './plan.ts'
import { isolationChanges, isolationRemoval, policiesIn } from './plan-isolation.ts'
import { claims } from './plan-removal.ts'
import { type Isolation, OWNERS, STAGE_1, STAGE_2 } from './rules.ts'

const prefix = 'firewall: '

type Asked = Omit<Wanted, 'permits'>

/** @throws CniError code 7 where a policy has no bridge */
const askedOf = async (attachment: FirewallAttachment, result: Result): Promise<Asked> => {
  const { conf, network } = attachment
  const policy = policyOfConf(conf)
  return {
    addresses: addressesOf(result),
    owner: ownerText(network, attachment),
    adminChain: adminChainOf(conf),
    isolation:
      policy === 'open' ? undefined : { bridge: await requireBridge(attachment, result, policy), policy },
  }
}

const wantedOf = (asked: Asked, { permits, firewalld }: Backend, conf: FirewallConf): Wanted =>
  firewalld
    ? { ...asked, permits: 'elsewhere', owner: zonedOwner(asked.owner, zoneOf(conf)) }
    : { ...asked, permits }

/** Takes back what an ADD has added for its attachment alone. */
const takeBack = (
  tables: FilterTables,
  chains: readonly string[],
  added: ReadonlyMap<Version, readonly Change[]>,
): Promise<void> =>
  tables.change([...added.keys()], chains, (version, lists) =>
    (added.get(version) ?? []).flatMap((change): Change[] => {
      if (change.do !== 'add' || change.shared) return []
      const { chain, rule, owner } = change
      const listed = rulesIn(lists, chain).find(
        (found) => found.rule && found.owner === owner && sameRule(found.rule, rule),
      )
      return listed ? [{ do: 'delete', chain, listed, shared: false }] : []
    }),
  )

/** What an ADD has done to the rules of its bridge, in one family. */
interface Isolated {
  /** The policy that it found; undefined: none. */
  readonly before: Isolation | undefined
  readonly changed: boolean
}

/** Gives a bridge the policy back that it had; one that had none keeps its rules while others are on it. */
const restoreIsolation = async (
  attachment: FirewallAttachment,
  tables: FilterTables,
  bridge: string,
  found: ReadonlyMap<Version, Isolated>,
): Promise<void> => {
  const versions = [...found].flatMap(([version, { changed }]) => (changed ? [version] : []))
  if (versions.length === 0) return
  await tables.change(versions, [STAGE_1, STAGE_2], async (version, lists) => {
    const before = found.get(version)?.before
    if (before) return isolationChanges(lists, { bridge, policy: before })
    return isolationRemoval(lists, await unusedBridges(attachment, [bridge], attachment))
  })
}

const isolatedIn = (lists: Lists, bridge: string, changes: readonly Change[]): Isolated => ({
  before: policiesIn(lists, [bridge])[0]?.policy,
  changed: changes.some(
    (change) =>
      change.do !== 'chain' &&
      (change.chain === STAGE_1 || change.chain === STAGE_2) &&
      (change.do === 'delete' || change.rule.in !== undefined || change.rule.out !== undefined),
  ),
})

/** The rules in the filter tables. */
const addFilter = async (
  attachment: FirewallAttachment,
  tables: FilterTables,
  wanted: Wanted,
): Promise<void> => {
  const { undo } = attachment
  const { isolation } = wanted
  const chains = chainsOf(wanted)
  const plan = planAdd(wanted)
  // What was planned last is what was carried out, if anything was.
  const planned = new Map<Version, readonly Change[]>()
  const isolated = new Map<Version, Isolated>()
  undo.push('remove the firewall rules', () => takeBack(tables, chains, planned))
  if (isolation)
    undo.push(`give ${isolation.bridge} its ingress policy back`, () =>
      restoreIsolation(attachment, tables, isolation.bridge, isolated),
    )
  await tables.change(versionsOf(wanted), chains, (version, lists) => {
    const changes = plan(version, lists)
    planned.set(version, changes)
    if (isolation) isolated.set(version, isolatedIn(lists, isolation.bridge, changes))
    return changes
  })
  if (!isolation || !tables.isConsistent) return
  // A DEL that had found the bridge without containers may have removed its rules since they were read. One that comes
  // later finds this container.
  await tables.change(versionsOf(wanted), [STAGE_1, STAGE_2], (version, lists) => {
    const changes = isolationChanges(lists, isolation)
    if (changes.length > 0) isolated.set(version, isolatedIn(lists, isolation.bridge, changes))
    return changes
  })
}

const sourcesOf = ({ 4: v4, 6: v6 }: Addresses): string[] => [...v4, ...v6]

/** @returns those that were no sources before */
const addSources = async (
  { conf, undo, signal }: FirewallAttachment,
  firewalld: Firewalld,
  addresses: Addresses,
): Promise<ReadonlySet<string>> => {
  const zone = zoneOf(conf)
  const added = new Set<string>()
  for (const source of sourcesOf(addresses)) {
    let ours = true
    undo.push(`take ${source} out of firewalld's zone ${zone}`, async () => {
      if (ours)
        await withFirewalld({ signal, undo }, async (again) => {
          await again?.removeSource(zone, source)
        })
    })
    ours = await firewalld.addSource(zone, source)
    if (ours) added.add(source)
  }
  return added
}

/**
 * Looks at the tables once more: a firewalld that was about to start or to reload has flushed them before it answered.
 * Marks of owners whose sources another implementation has taken out of their zone go.
 */
const settle = async (tables: FilterTables, wanted: Wanted, added: ReadonlySet<string>): Promise<void> => {
  const plan = planAdd(wanted)
  const key = ownerKey(wanted.owner)
  await tables.change(versionsOf(wanted), chainsOf(wanted), (version, lists) => [
    ...claims(lists).flatMap(({ chain, listed, address, owner }): Change[] =>
      chain === OWNERS && added.has(address) && ownerKey(owner) !== key
        ? [{ do: 'delete', chain, listed, shared: false }]
        : [],
    ),
    ...plan(version, lists),
  ])
}

/** Whether frames between two ports of a bridge pass the filter tables; undefined where there is no such setting. */
const bridgedPackets = (attachment: FirewallAttachment, version: Version): boolean => {
  try {
    const name = version === 4 ? 'iptables' : 'ip6tables'
    return attachment.hostNetns.readSysctl(`net/bridge/bridge-nf-call-${name}`) === '1'
  } catch {
    return false
  }
}

const warnOfBridge = (attachment: FirewallAttachment, { isolation, ...asked }: Asked): void => {
  if (isolation?.policy !== 'isolated') return
  const open = versionsOf(asked).filter((version) => !bridgedPackets(attachment, version))
  if (open.length === 0) return
  attachment.log.warn(
    `ingressPolicy "isolated": containers of ${isolation.bridge} reach each other, because the kernel does not show bridged IPv${open.join(' and IPv')} packets to the filter tables`,
    {
      advice:
        'load br_netfilter and set net.bridge.bridge-nf-call-iptables and -ip6tables to 1, or portIsolation of the bridge plugin',
    },
  )
}

/**
 * Lets the container's traffic through.
 * @throws CniError
 */
export const addRules = async (attachment: FirewallAttachment, result: Result): Promise<void> => {
  const asked = await askedOf(attachment, result)
  const versions = versionsOf(asked)
  if (versions.length === 0) return
  warnOfBridge(attachment, asked)
  if (asked.isolation) await keepPorts(attachment, result)
  try {
    await withBackend(attachment, versions, async (backend) => {
      const wanted = wantedOf(asked, backend, attachment.conf)
      await addFilter(attachment, backend.tables, wanted)
      if (!backend.firewalld) return
      const added = await addSources(attachment, backend.firewalld, asked.addresses)
      await settle(backend.tables, wanted, added)
    })
  } catch (error) {
    throw CniError.from(error, prefix)
  }
}

/** What is missing of it, in words. Changes nothing. @throws CniError */
export const missingRules = async (attachment: FirewallAttachment, result: Result): Promise<string[]> => {
  const asked = await askedOf(attachment, result)
  const versions = versionsOf(asked)
  if (versions.length === 0) return []
  return withBackend(attachment, versions, async (backend) => {
    const wanted = wantedOf(asked, backend, attachment.conf)
    const missing: string[] = []
    for (const version of versions)
      missing.push(...missingOf(wanted, version, await backend.tables.read(version, chainsOf(wanted))))
    const zone = zoneOf(attachment.conf)
    for (const source of backend.firewalld ? sourcesOf(asked.addresses) : [])
      if (!(await backend.firewalld?.querySource(zone, source)))
        missing.push(`firewalld: ${source} is no source of zone ${zone}`)
    return missing
  })
}
