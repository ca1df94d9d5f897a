/** Addresses: whether some are left, and whether two networks have the same. */
import type { PoolFacts, SetFacts, Span } from '../facts/pools.ts'
import { count, type Finding, failure, ok, type Seen, unseen, warning } from '../finding.ts'

/** In hundredths, from where on a range is nearly used up. */
const NEARLY = 90n

const checkSet = (pool: PoolFacts, { size, used, text }: SetFacts, index: number): Finding => {
  const { network, directory } = pool
  const id = `network.range.${network}.${index}`
  const facts = { network, set: index, size: String(size), used, directory }
  if (size > BigInt(used) && BigInt(used) * 100n < size * NEARLY)
    return ok(id, `${network}: ${used} reserved of ${text}`, { facts })
  const full = size <= BigInt(used)
  return (full ? failure : warning)(
    id,
    `${network}: ${full ? 'every address is' : `${used} are`} reserved of ${text}`,
    {
      advice:
        size === 0n
          ? 'widen the range: it has nothing but its gateway'
          : `linkwright gc ${network} --keep-live gives back what containers have left; widen the range where all are in use`,
      facts,
    },
  )
}

const checkBoot = ({ network, directory, keptByReboot, beforeBoot }: PoolFacts): Finding => {
  const id = `network.data-dir.${network}`
  const facts = { network, directory, keptByReboot, beforeBoot }
  if (!keptByReboot) return ok(id, `${network}: reservations in ${directory} go with a reboot`, { facts })
  if (beforeBoot === 0)
    return ok(id, `${network}: reservations in ${directory} outlive a reboot: runtimes have to delete them`, {
      facts,
    })
  return warning(
    id,
    `${network}: ${count(beforeBoot, 'reservation')} in ${directory} ${beforeBoot === 1 ? 'is' : 'are'} older than the machine's start`,
    {
      advice: `their containers are gone: linkwright gc ${network} --keep-live; with "dataDir" below /run a reboot removes them`,
      facts,
    },
  )
}

/** L2 networks share a segment with others on purpose, and then a subnet, but never an address. */
const ownSegment = new Set(['bridge', 'ptp'])

const meet = (a: Span, b: Span): 'range' | 'subnet' | null => {
  if (a.family !== b.family) return null
  if (a.first <= b.last && b.first <= a.last) return 'range'
  return a.from <= b.to && b.from <= a.to ? 'subnet' : null
}

const checkPair = (a: PoolFacts, b: PoolFacts): Finding | undefined => {
  if (a.directory === b.directory) return undefined
  const spans = a.sets
    .flatMap((set) => set.spans)
    .flatMap((one) =>
      b.sets.flatMap((set) => set.spans).map((other) => ({ one, other, how: meet(one, other) })),
    )
  const ranges = spans.find(({ how }) => how === 'range')
  const id = `network.overlap.${a.network}.${b.network}`
  const facts = (found: (typeof spans)[number]) => ({
    networks: [a.network, b.network],
    subnets: [found.one.subnet, found.other.subnet],
    what: found.how,
  })
  if (ranges)
    return warning(
      id,
      `${a.network} and ${b.network} assign the same addresses (${ranges.one.subnet}, ${ranges.other.subnet})`,
      {
        advice:
          'each keeps reservations of its own, and two containers get one address: make the ranges disjoint',
        facts: facts(ranges),
      },
    )
  const routed = ownSegment.has(a.type) && ownSegment.has(b.type)
  const shared = a.bridge !== null && a.bridge === b.bridge
  const subnet = routed && !shared ? spans.find(({ how }) => how === 'subnet') : undefined
  return (
    subnet &&
    warning(
      id,
      `${a.network} and ${b.network} have subnets that overlap: ${subnet.one.subnet}, ${subnet.other.subnet}`,
      {
        advice: 'the host has a route to one of them only: give them subnets of their own',
        facts: facts(subnet),
      },
    )
  )
}

export const checkPools = (pools: Seen<readonly PoolFacts[]>): readonly Finding[] => {
  if (!pools.seen) return [unseen('network.ranges', 'reservations of host-local', pools.why)]
  const { value } = pools
  return [
    ...value.flatMap((pool) => [...pool.sets.map((set, i) => checkSet(pool, set, i)), checkBoot(pool)]),
    ...value.flatMap((a, i) => value.slice(i + 1).flatMap((b) => checkPair(a, b) ?? [])),
  ]
}
