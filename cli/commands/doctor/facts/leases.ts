/** Who keeps DHCP leases, and which. */
import { statSync } from 'node:fs'
import { isObject, lookup } from '../../../../cni/fold.ts'
import { isSocketPath } from '../../../../ipam/connect.ts'
import { DEFAULT_SOCKET } from '../../../../ipam/dhcp/conf.ts'
import type { KeeperStatus, KeptLease } from '../../../../ipam/dhcp/lease-keeper.ts'
import { KeeperCannotTell, RemoteKeeper } from '../../../../ipam/dhcp/rpc/remote.ts'
import type { Seen } from '../finding.ts'
import { see } from '../see.ts'
import type { NetworkFacts } from './conf-dir.ts'

export interface KeeperFacts {
  readonly socket: string
  /** Networks whose leases are kept behind it. */
  readonly networks: readonly string[]
  /** Networks that do without, where nobody answers. */
  readonly standalone: readonly string[]
  /** Null where the socket is not there. */
  readonly answer: Seen<{
    readonly status: KeeperStatus
    /** Null where Go's daemon answers, which can't list them. */
    readonly leases: readonly (KeptLease & { readonly namespace: 'there' | 'gone' })[] | null
  }> | null
}

/** The sockets that networks name, and the usual one. */
const socketsOf = (
  networks: readonly NetworkFacts[],
): ReadonlyMap<string, Pick<KeeperFacts, 'networks' | 'standalone'>> => {
  const sockets = new Map<string, { networks: string[]; standalone: string[] }>()
  const at = (path: string) => {
    const known = sockets.get(path) ?? { networks: [], standalone: [] }
    sockets.set(path, known)
    return known
  }
  at(DEFAULT_SOCKET)
  for (const { name, plugins } of networks)
    for (const { conf, ipam: type } of plugins) {
      if (type !== 'dhcp') continue
      const ipam = lookup(conf, 'ipam')
      const named = isObject(ipam) ? lookup(ipam, 'daemonSocketPath') : undefined
      const known = at(typeof named === 'string' && named !== '' ? named : DEFAULT_SOCKET)
      known.networks.push(name)
      if (isObject(ipam) && lookup(ipam, 'standalone') === true) known.standalone.push(name)
    }
  return sockets
}

const ask = async (socket: string, timeout: number) => {
  const keeper = new RemoteKeeper(socket, { connectTimeout: timeout, callTimeout: timeout })
  const status = await keeper.status()
  try {
    const leases = await keeper.list()
    const namespaceOf = ({ netns }: KeptLease) =>
      statSync(netns, { throwIfNoEntry: false }) ? ('there' as const) : ('gone' as const)
    return { status, leases: leases.map((lease) => ({ ...lease, namespace: namespaceOf(lease) })) }
  } catch (error) {
    if (error instanceof KeeperCannotTell) return { status, leases: null }
    throw error
  }
}

/** Asks every keeper that a network needs, and the usual one where it is there. */
export const lookAtKeepers = async (
  networks: readonly NetworkFacts[],
  timeout: number,
): Promise<readonly KeeperFacts[]> => {
  const keepers: KeeperFacts[] = []
  for (const [socket, users] of socketsOf(networks)) {
    const isThere = isSocketPath(socket) && statSync(socket, { throwIfNoEntry: false })
    keepers.push({
      socket,
      ...users,
      answer: isThere ? await see(timeout, () => ask(socket, timeout)) : null,
    })
  }
  return keepers
}
