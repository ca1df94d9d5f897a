import { isErrno } from '../../../../netlink/error.ts'
import { NETLINK_NETFILTER, Netns } from '../../../../netlink/netns.ts'
import { isWithoutNftables, listChains, listTables, unusable } from '../../../../netlink/nftables/index.ts'
import { xtablesUnusable } from '../../../../netlink/nftables/xtables-usable.ts'
import type { Seen } from '../finding.ts'
import { see } from '../see.ts'

export interface FilteringFacts {
  /** Why nf_tables with nat and masquerade can't be used; null where it can. */
  readonly nftables: Seen<string | null>
  /** Why rules as iptables writes them can't be made over netlink; null where they can. */
  readonly xtables: Seen<string | null>
  /** Tables of the old xtables that are in use, by family. */
  readonly legacy: Seen<{ readonly ipv4: readonly string[]; readonly ipv6: readonly string[] }>
  /** Tables of nf_tables: `ip nat`. */
  readonly tables: Seen<readonly string[]>
  /** Families whose forwarded packets are dropped unless a rule accepts them, by the chain: `ip filter FORWARD`. */
  readonly dropping: Seen<readonly string[]>
}

const tablesIn = (host: Netns, name: string): readonly string[] => {
  try {
    return host
      .readProcNet(name)
      .split('\n')
      .filter((table) => table !== '')
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return []
    throw error
  }
}

/** In a namespace that goes with the try. */
const tried = (timeout: number, ask: (netns: Netns) => Promise<Error | undefined>) =>
  see(timeout, async () => {
    using netns = Netns.create()
    return (await ask(netns))?.message ?? null
  })

/** Looks at nf_tables and xtables of the process's own namespace. */
export const lookAtFiltering = async (timeout: number): Promise<FilteringFacts> => {
  const host = Netns.current()
  const list = <T>(read: (connection: ReturnType<Netns['connect']>) => Promise<readonly T[]>) =>
    see(timeout, async () => {
      try {
        using connection = host.connect({ protocol: NETLINK_NETFILTER })
        return await read(connection)
      } catch (error) {
        if (isWithoutNftables(error)) return []
        throw error
      }
    })
  return {
    nftables: await tried(timeout, (netns) => unusable(netns)),
    xtables: await tried(timeout, xtablesUnusable),
    legacy: await see(timeout, () => ({
      ipv4: tablesIn(host, 'ip_tables_names'),
      ipv6: tablesIn(host, 'ip6_tables_names'),
    })),
    tables: await list(async (connection) =>
      (await connection.run(listTables())).map(({ family, table }) => `${family} ${table}`),
    ),
    dropping: await list(async (connection) =>
      (await connection.run(listChains()))
        .filter(({ base }) => base?.hook === 'forward' && base.policy === 'drop')
        .map(({ family, table, chain }) => `${family} ${table} ${chain}`)
        .filter((chain) => /^(ip6?|inet) /.test(chain)),
    ),
  }
}
