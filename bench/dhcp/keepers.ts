/** The daemons themselves, asked over their sockets: what leases cost in memory, and many at once in time. */
import type { LeaseCall } from '../../ipam/dhcp/lease-keeper.ts'
import { Netns } from '../../netlink/index.ts'
import type { Findings, Row } from '../row.ts'
import type { Memory } from '../service.ts'
import type { Setting } from '../setting.ts'
import { Samples } from '../stats.ts'
import { Crowd, forAll, obtain } from './crowd.ts'
import { type Lan, LeaseDaemon } from './lan.ts'

const MANY = 1000
/** MiB above the empty keeper. */
const LIMIT = 40
/** Leases under way at a time where time does not count. The kernel throws neighbours away beyond about 500 in 5 s. */
const WIDTH = 32
const AT_ONCE = 200
/** Where calls that failed are made again, so many times. */
const TRIES = 5

/** Whose daemon it is. */
interface Owner {
  readonly name: 'ours' | 'peer'
  readonly binDir: string
}

interface Filled {
  /** When it has just begun to serve. */
  readonly empty: Memory
  /** When it has had one lease: what the first of all needs is there. */
  readonly used: Memory
  readonly full: Memory
}

/** A daemon before and after it got its leases. */
const fill = async (lan: Lan, { name, binDir }: Owner, count: number): Promise<Filled> => {
  const host = Netns.current()
  using crowd = await Crowd.of(count, host)
  await lan.serve()
  const daemon = await LeaseDaemon.start(name, binDir)
  try {
    const empty = daemon.service.memory()
    const [first] = crowd.calls(`${name}-first`, true) as [LeaseCall]
    await daemon.keeper.allocate(first)
    await daemon.keeper.release(first)
    const used = daemon.service.memory()
    // Those that have a lease get the same again.
    for (let left = TRIES; ; ) {
      const [failure] = await obtain(daemon.keeper, crowd.calls(name, true), WIDTH)
      if (!failure) break
      if (--left === 0) throw failure
    }
    return { empty, used, full: daemon.service.memory() }
  } finally {
    await daemon.service.stop()
  }
}

export const memoryRows = async (setting: Setting, lan: Lan, owners: readonly Owner[]): Promise<Findings> => {
  const samples = new Samples()
  const notes: string[] = []
  const count = setting.quick ? MANY / 10 : MANY
  const rounds = setting.quick ? 1 : 3
  for (let i = 0; i < rounds; i++)
    for (const owner of i % 2 ? owners.toReversed() : owners) {
      setting.progress(`dhcp, ${count} leases, ${owner.name}, ${i + 1} of ${rounds}`)
      const { empty, used, full } = await fill(lan, owner, count)
      for (const kind of ['rss', 'pss'] as const) {
        samples.add(`${owner.name} empty ${kind}`, empty[kind])
        samples.add(`${owner.name} grown ${kind}`, full[kind] - used[kind])
      }
      if (i === 0)
        notes.push(
          `${count} leases: the daemon of ${owner.name} has ${full.threads} threads, ${empty.threads} before`,
        )
    }
  const row = (what: string, key: string, limit?: number): Row => ({
    group: 'dhcp',
    unit: 'MiB',
    case: what,
    ours: samples.of(`ours ${key}`),
    peer: 'Go daemon',
    theirs: samples.of(`peer ${key}`),
    limit,
  })
  const rows = [
    row('dhcp daemon without leases, RSS', 'empty rss'),
    row('dhcp daemon without leases, PSS', 'empty pss'),
    row(`${count} leases more, RSS`, 'grown rss', LIMIT),
    row(`${count} leases more, PSS`, 'grown pss', LIMIT),
  ]
  return { rows, notes }
}

export const atOnceRows = async (setting: Setting, lan: Lan, owners: readonly Owner[]): Promise<Findings> => {
  const count = setting.quick ? AT_ONCE / 10 : AT_ONCE
  const rounds = setting.quick ? 2 : 8
  const samples = new Samples()
  const failed = new Map<string, number>()
  const daemons: LeaseDaemon[] = []
  await lan.serve()
  using crowd = await Crowd.of(count, Netns.current())
  try {
    const contestants = []
    for (const { name, binDir } of owners) {
      const daemon = await LeaseDaemon.start(name, binDir)
      daemons.push(daemon)
      for (const probe of name === 'ours' ? [true, false] : [true]) {
        const key = `${name}${probe ? '' : ' silent'}`
        contestants.push({ key, keeper: daemon.keeper, calls: crowd.calls(key.replace(' ', '-'), probe) })
      }
    }
    // The first round brings the interfaces up, and counts for nothing.
    for (let i = 0; i <= rounds; i++)
      for (const { key, keeper, calls } of i % 2 ? contestants.toReversed() : contestants) {
        setting.progress(`dhcp, ${count} at once, ${key}, ${i} of ${rounds}`)
        const start = performance.now()
        const failures = await obtain(keeper, calls, count)
        const took = performance.now() - start
        await forAll(calls, WIDTH, (call) => keeper.release(call))
        if (i === 0) continue
        samples.add(key, took)
        failed.set(key, (failed.get(key) ?? 0) + failures.length)
      }
  } finally {
    for (const { service } of daemons) await service.stop()
  }
  const row = (what: string, key: string): Row => ({
    group: 'dhcp',
    case: `${count} leases at once, ${what}`,
    ours: samples.of(key),
    peer: 'Go daemon',
    theirs: samples.of('peer'),
  })
  const failures = [...failed].map(([key, number]) => `${key} ${number}`).join(', ')
  return {
    rows: [row('ours with ARP probes of 0.2 s', 'ours'), row('without probes', 'ours silent')],
    notes: [`${count} leases at once, ${rounds} times: failures: ${failures}`],
  }
}
