/** What attachments have left behind: nothing of it is needed, and some of it is in the way. */
import type { UnreadableEntry } from '../../../../cni/cache.ts'
import { masqueradeComment } from '../../../../plugins/shared/masquerade-nftables.ts'
import type { AttachmentFacts, CacheFacts } from '../facts/attachments.ts'
import type { LinkFacts, ReservationFacts, RuleFacts, RuleOwner } from '../facts/left-behind.ts'
import { count, type Finding, listed, ok, type Seen, unseen, warning } from '../finding.ts'

export interface LeftBehind {
  /** Null where there is no cache. */
  readonly cache: Seen<CacheFacts | null>
  readonly links: Seen<readonly LinkFacts[]>
  readonly rules: Seen<readonly RuleFacts[]>
  readonly reservations: Seen<readonly ReservationFacts[]>
}

/** Characters of the mark that an attachment's rules begin with. */
const MARK = 33

/** Who is known, in the ways in which things say whose they are. */
class Known {
  readonly #attachments = new Set<string>()
  readonly #containers = new Set<string>()
  readonly #marks = new Set<string>()
  readonly #chains = new Set<string>()

  constructor(attachments: readonly AttachmentFacts[]) {
    for (const { network, containerId, ifName } of attachments) {
      this.#attachments.add(`${network}/${containerId}/${ifName}`)
      this.#containers.add(`${network}/${containerId}`)
      this.#marks.add(masqueradeComment({ network, containerId, ifName }).slice(0, MARK))
      this.#chains.add(`${containerId}-${ifName}`)
    }
  }

  hasAttachment(network: string, containerId: string, ifName: string | null): boolean {
    return ifName === null
      ? this.#containers.has(`${network}/${containerId}`)
      : this.#attachments.has(`${network}/${containerId}/${ifName}`)
  }
  has(owner: RuleOwner): boolean {
    if (owner.by === 'mark') return this.#marks.has(owner.mark)
    if (owner.by === 'chain') return this.#chains.has(owner.id)
    return this.#containers.has(`${owner.network}/${owner.containerId}`)
  }
}

/** Things by the network that they belong to. */
const byNetwork = <T>(
  things: readonly T[],
  networkOf: (thing: T) => string,
): ReadonlyMap<string, readonly T[]> => {
  const groups = new Map<string, T[]>()
  for (const thing of things) {
    const network = networkOf(thing)
    const group = groups.get(network)
    if (group) group.push(thing)
    else groups.set(network, [thing])
  }
  return groups
}

/** How to have a network collected: `gc` needs its configuration. */
type Collect = (network: string) => string
const collect =
  (networks: ReadonlySet<string>): Collect =>
  (network) =>
    networks.has(network)
      ? `linkwright gc ${network} --keep-live removes what nobody uses`
      : `linkwright gc FILE --keep-live removes it, with the configuration that ${network} had: there is none of that name now`

const checkAttachments = (attachments: readonly AttachmentFacts[], advice: Collect): readonly Finding[] => {
  const gone = attachments.filter(({ namespace }) => namespace === 'gone')
  if (gone.length === 0)
    return [
      ok(
        'orphan.attachment',
        `${count(attachments.length, 'attachment')} in the cache, none without its namespace`,
      ),
    ]
  return [...byNetwork(gone, ({ network }) => network)].map(([network, all]) =>
    warning(
      `orphan.attachment.${network}`,
      `${network}: ${count(all.length, 'attachment')} in the cache, but the namespace is gone`,
      {
        advice: advice(network),
        facts: {
          network,
          ...listed(all.map(({ containerId, ifName, netnsPath }) => ({ containerId, ifName, netnsPath }))),
        },
      },
    ),
  )
}

const checkUnreadable = (files: readonly UnreadableEntry[]): readonly Finding[] => {
  const [first, ...others] = files
  if (!first) return []
  const more = others.length > 0 ? `, and ${count(others.length, 'other')}` : ''
  return [
    warning('orphan.cache', `${first.path} can not be read as an attachment: ${first.why}${more}`, {
      advice:
        'what it stands for seems to be left behind below: remove the file when its container is gone; until then linkwright gc --keep-live does nothing in its network',
      facts: listed(files.map(({ path, why }) => ({ path, why }))),
    }),
  ]
}

/** @param what of one and of many: `link`, `links` */
const checkThings = <T>(
  id: string,
  what: string,
  things: Seen<readonly T[]>,
  {
    isKnown,
    networkOf,
    tell,
    advice,
  }: {
    readonly isKnown: (thing: T) => boolean
    readonly networkOf: (thing: T) => string
    readonly tell: (thing: T) => string
    readonly advice: Collect
  },
): readonly Finding[] => {
  if (!things.seen) return [unseen(id, `${what}s`, things.why)]
  const orphans = things.value.filter((thing) => !isKnown(thing))
  if (orphans.length === 0)
    return [ok(id, `${count(things.value.length, what)}, none of an unknown attachment`)]
  return [...byNetwork(orphans, networkOf)].map(([network, all]) =>
    warning(
      `${id}.${network}`,
      `${network}: ${count(all.length, what)} of attachments that the cache does not know: ${all.slice(0, 3).map(tell).join(', ')}${all.length > 3 ? ', …' : ''}`,
      { advice: advice(network), facts: { network, ...listed(all.map(tell)) } },
    ),
  )
}

/** A network that only a hash is known of. */
const UNNAMED = 'unknown-network'

const networkOfRule =
  (names: ReadonlyMap<string, string>) =>
  ({ owner }: RuleFacts): string => {
    if (owner.by === 'words') return owner.network
    if (owner.by === 'chain') return UNNAMED
    return names.get(owner.mark.split('-')[0]!) ?? owner.network ?? UNNAMED
  }

/**
 * @param networks those that a configuration is found of
 * @param only the networks that are asked for; none: all
 */
export const checkLeftBehind = (
  left: LeftBehind,
  networks: ReadonlySet<string>,
  only: readonly string[] = [],
): readonly Finding[] => {
  const { cache, links, rules, reservations } = left
  if (!cache.seen) return [unseen('orphan.attachment', 'the cache of attachments', cache.why)]
  const all = cache.value?.attachments ?? []
  const known = new Known(all)
  const advice = collect(networks)
  const withCache: Collect = (network) =>
    cache.value
      ? advice(network)
      : 'there is no cache of attachments: where a runtime keeps it elsewhere, name it with --cache-dir'
  const hashes = new Map(
    [...networks].map((network) => [
      masqueradeComment({ network, containerId: '', ifName: '' }).split('-')[0]!,
      network,
    ]),
  )
  const isAsked = ({ facts }: Finding): boolean => {
    const network = facts?.network
    return only.length === 0 || typeof network !== 'string' || only.includes(network)
  }
  const findings = [
    ...checkUnreadable(cache.value?.unreadable ?? []),
    ...checkAttachments(all, advice),
    ...checkThings('orphan.reservation', 'reservation', reservations, {
      isKnown: ({ network, containerId, ifName }) => known.hasAttachment(network, containerId, ifName),
      networkOf: ({ network }) => network,
      tell: ({ address, containerId }) => `${address} of ${containerId}`,
      advice: withCache,
    }),
    ...checkThings('orphan.link', 'link', links, {
      isKnown: ({ owner }) =>
        owner !== null && known.hasAttachment(owner.network, owner.containerId, owner.ifName),
      networkOf: ({ owner }) => owner?.network ?? UNNAMED,
      tell: ({ name, owner }) => (owner ? `${name} of ${owner.containerId}` : name),
      advice: withCache,
    }),
    ...checkThings('orphan.rule', 'rule', rules, {
      isKnown: ({ owner }) => known.has(owner),
      networkOf: networkOfRule(hashes),
      tell: ({ where, owner }) =>
        owner.by === 'words'
          ? `${where} of ${owner.containerId}`
          : `${where} of ${owner.by === 'mark' ? owner.mark : owner.id}`,
      advice: withCache,
    }),
  ]
  return findings.filter(isAsked)
}
