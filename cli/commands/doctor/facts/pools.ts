/** What host-local assigns from, and what of it is assigned. */
import { readFileSync, statfsSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readConf } from '../../../../cni/attachment.ts'
import { lookup } from '../../../../cni/fold.ts'
import type { Plugins } from '../../../../cni/plugin.ts'
import { type Family, formatAddress, parseAddress } from '../../../../ipam/address.ts'
import { type HostLocalConf, rangeSetsOf } from '../../../../ipam/host-local/conf.ts'
import { hostLocal } from '../../../../ipam/host-local/plugin.ts'
import { list } from '../../../../ipam/host-local/scan.ts'
import { describePool } from '../../../../ipam/ip-num.ts'
import { type RangeSet, setContains } from '../../../../ipam/ranges.ts'
import type { NetworkFacts } from './conf-dir.ts'

/** Addresses from the first to the last, within a subnet. */
export interface Span {
  readonly family: Family
  readonly first: bigint
  readonly last: bigint
  /** Of the subnet. */
  readonly from: bigint
  readonly to: bigint
  /** `10.1.0.0/16` */
  readonly subnet: string
}

/** One range set: each attachment gets one address of it. */
export interface SetFacts {
  readonly spans: readonly Span[]
  readonly size: bigint
  readonly used: number
  /** `253 addresses: 10.1.0.2-10.1.0.254 of 10.1.0.0/24 without the gateway 10.1.0.1` */
  readonly text: string
}

export interface PoolFacts {
  readonly network: string
  /** The plugin's that asks for addresses. */
  readonly type: string
  /** Name of the bridge, where the plugin has one. */
  readonly bridge: string | null
  /** Where the reservations are. */
  readonly directory: string
  readonly sets: readonly SetFacts[]
  /** Whether a reboot keeps the reservations; their containers it does not. */
  readonly keptByReboot: boolean
  /** Reservations that are older than the machine's start. */
  readonly beforeBoot: number
}

/** TMPFS_MAGIC and RAMFS_MAGIC, linux/magic.h. */
const inMemory = [0x01021994, 0x858458f6]

/** The closest folder that is there. */
const existing = (path: string): string =>
  statSync(path, { throwIfNoEntry: false }) || dirname(path) === path ? path : existing(dirname(path))

/** Milliseconds since the epoch; `btime` of proc(5). */
export const bootTime = (): number =>
  Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'ascii'))?.[1] ?? 0) * 1000

const spansOf = (set: RangeSet): readonly Span[] =>
  set.map(({ family, prefix, start, end }) => {
    const hosts = (1n << BigInt((family === 4 ? 32 : 128) - prefix)) - 1n
    const from = start & ~hosts
    const subnet = `${formatAddress(family, from)}/${prefix}`
    return { family, first: start, last: end, from, to: from | hosts, subnet }
  })

/** Reservations of a directory: their addresses' names. */
const reservations = async (directory: string): Promise<readonly string[]> =>
  statSync(directory, { throwIfNoEntry: false })
    ? (await list(directory)).map(({ name }) => name).filter((name) => parseAddress(name) !== null)
    : []

const toPool = async (
  network: string,
  { type, conf }: { readonly type: string; readonly conf: NetworkFacts['plugins'][number]['conf'] },
  ranges: HostLocalConf,
  dataDir: string,
): Promise<PoolFacts> => {
  // The name is checked when a file is read as a network: it holds no slash.
  const directory = join(ranges.ipam?.dataDir || dataDir, network)
  const names = await reservations(directory)
  const sets = rangeSetsOf(ranges).map((set) => {
    const { size, text } = describePool(set)
    const used = names.filter((name) => setContains(set, parseAddress(name)!)).length
    return { spans: spansOf(set), size, text, used }
  })
  const boot = bootTime()
  const bridge = type === 'bridge' ? (lookup(conf, 'bridge') ?? 'cni0') : null
  return {
    network,
    type,
    bridge: typeof bridge === 'string' ? bridge : null,
    directory,
    sets,
    keptByReboot: !inMemory.includes(statfsSync(existing(directory)).type),
    beforeBoot: names.filter(
      (name) => (statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? boot) < boot,
    ).length,
  }
}

/**
 * The pools of all networks whose configurations hold.
 * @param dataDir where a configuration names none
 * @throws SystemError
 */
export const lookAtPools = async (
  networks: readonly NetworkFacts[],
  plugins: Plugins,
  dataDir: string,
): Promise<readonly PoolFacts[]> => {
  const pools: PoolFacts[] = []
  for (const { name, plugins: all } of networks)
    for (const plugin of all) {
      if (plugin.ipam !== 'host-local' || plugin.problem) continue
      // Whether its interface plugin is ours does not matter: host-local's files are the same.
      const conf = readHostLocal(plugin.conf, plugins)
      if (conf) pools.push(await toPool(name, plugin, conf, dataDir))
    }
  return pools
}

const readHostLocal = (
  conf: NetworkFacts['plugins'][number]['conf'],
  plugins: Plugins,
): HostLocalConf | undefined => {
  try {
    return readConf(plugins.get('host-local') ?? hostLocal, conf) as HostLocalConf
  } catch {
    // Of another vendor's plugin nobody has validated it before.
    return undefined
  }
}
