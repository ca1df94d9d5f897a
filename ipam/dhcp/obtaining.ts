/** The steps of an ADD: the interface comes up, an address is waited for, and what was granted becomes a result. */
import { CniError, codes } from '../../cni/error.ts'
import type { Logger } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'
import { isErrno, link, TimeoutError, waitForLink } from '../../netlink/index.ts'
import type { Grant } from './grant.ts'
import type { Holding } from './holding.ts'
import { type LeaseCall, NO_LEASE } from './lease-keeper.ts'
import type { OpenPlace } from './place.ts'
import type { Timebase } from './timebase.ts'

/** Milliseconds for a link to get its carrier; one without is tried all the same. */
const CARRIER_TIMEOUT = 5000

/** What an ADD may take. */
export interface Effort {
  readonly time: Timebase
  readonly log: Logger
  /** A moment of the timebase. */
  readonly deadline: number
  readonly signal: AbortSignal
}

/** Code 11: no address, for now. */
export const noLease = (details: string): CniError =>
  new CniError({ code: codes.tryAgainLater, msg: NO_LEASE, details })

/**
 * Lets the link-local address that comes with the link be used while its duplicates are looked for (RFC 4429), which
 * takes the kernel a second and more. A kernel that can't is waited for. Equivalent: `sysctl -w
 * net.ipv6.conf.eth0.use_optimistic=1 net.ipv6.conf.eth0.optimistic_dad=1`.
 * @returns makes it as it was for addresses that come later
 */
const beOptimistic = ({ netns, link: { name } }: OpenPlace): (() => void) => {
  const own = `net/ipv6/conf/${name}`
  const [, before] = netns.writeSysctls([
    // Asked for when something is sent, and without a meaning for other addresses.
    { name: `${own}/use_optimistic`, value: '1' },
    { name: `${own}/optimistic_dad`, value: '1' },
  ])
  return () => {
    if (typeof before === 'string') netns.writeSysctls([{ name: `${own}/optimistic_dad`, value: before }])
  }
}

/**
 * Brings the interface up and waits for its carrier. Equivalent: `ip link set eth0 up`.
 * @param ipv6 whether it is to be used for DHCPv6
 * @returns what is to be called when there are addresses
 * @throws NetlinkError
 */
export const bringUp = async (
  place: OpenPlace,
  { time, log, deadline, signal }: Effort,
  ipv6: boolean,
): Promise<() => void> => {
  const { netns, connection, link: found } = place
  const settle = ipv6 ? beOptimistic(place) : () => {}
  if (!found.up) await connection.run(link.set(found.index, { up: true }))
  const timeout = Math.min(CARRIER_TIMEOUT, Math.max(1, deadline - time.now()))
  try {
    await waitForLink(
      { netns, connection },
      found.index,
      (now) => now === undefined || (now.up && now.carrier !== false),
      { timeout, signal },
    )
  } catch (error) {
    if (!(error instanceof TimeoutError)) throw error
    log.warn(`DHCP: ${found.name} has no carrier`)
  }
  return settle
}

const silence = ({ binding, what: { id } }: Holding, seconds: number): CniError => {
  const { heard, version } = binding
  const what = version === 4 ? 'DHCP server' : 'DHCPv6 server'
  return noLease(
    heard === ''
      ? `no ${what} answered on ${id.ifName} within ${seconds} s: look whether there is one on its network, and whether it lets this client through`
      : `no lease on ${id.ifName} within ${seconds} s; the last that was heard: ${heard}`,
  )
}

/**
 * Lets a client that has no address begin, and waits until it has one.
 * @param late is called when there is none in time
 * @throws CniError code 11 where there is none in time; GoneError
 */
export const granted = async (
  holding: Holding,
  { time, deadline, signal }: Effort,
  late: () => void,
): Promise<Grant> => {
  const { binding, told } = holding
  if (binding.grant) return binding.grant
  const seconds = Math.round((deadline - time.now()) / 1000)
  await new Promise<void>((resolve, reject) => {
    const end = (settle: () => void) => {
      timer.cancel()
      signal.removeEventListener('abort', abort)
      told.delete(tell)
      settle()
    }
    const tell = (why?: Error) => end(() => (why ? reject(why) : resolve()))
    const abort = () => end(() => reject(noLease(`stopped: ${(signal.reason as Error).message}`)))
    const timer = time.after(deadline - time.now(), () => {
      late()
      end(() => reject(silence(holding, seconds)))
    })
    told.add(tell)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    else
      try {
        binding.start()
      } catch (error) {
        end(() => reject(error))
      }
  })
  const { grant } = holding.binding
  if (!grant) throw noLease('the lease was lost at once')
  return grant
}

/** One result of all protocols; of lists that both have, IPv4's come first. */
export const resultOf = (grants: readonly Grant[], { ifName, netns }: LeaseCall): Result => {
  const mtu = mtuOf(grants)
  const all = <T>(pick: (grant: Grant) => readonly T[] | undefined): T[] | undefined => {
    const list = [...new Set(grants.flatMap((grant) => pick(grant) ?? []))]
    return list.length > 0 ? list : undefined
  }
  return {
    ...(mtu === undefined ? {} : { interfaces: [{ name: ifName, mtu, sandbox: netns }] }),
    ips: grants.flatMap(({ ips }) => ips),
    routes: grants.flatMap(({ routes }) => routes),
    dns: {
      nameservers: all(({ dns }) => dns.nameservers),
      domain: grants.find(({ dns }) => dns.domain)?.dns.domain,
      search: all(({ dns }) => dns.search),
    },
  }
}

const mtuOf = (grants: readonly Grant[]): number | undefined =>
  grants.find((grant) => grant.mtu !== undefined)?.mtu

/**
 * Gives the interface the MTU that the network asks for: an IPAM result can't ask for it. One that it can't have costs
 * no lease. Equivalent: `ip link set eth0 mtu N`.
 * @returns what the interface has of what was granted
 * @throws NetlinkError
 */
export const applyMtu = async (
  grants: readonly Grant[],
  { connection, link: found }: OpenPlace,
  log: Logger,
): Promise<readonly Grant[]> => {
  const mtu = mtuOf(grants)
  if (mtu === undefined || mtu === found.mtu) return grants
  try {
    await connection.run(link.set(found.index, { mtu }))
    return grants
  } catch (error) {
    // More than its master has.
    if (!isErrno(error, 'EINVAL', 'EOPNOTSUPP')) throw error
    log.warn(`DHCP: the MTU ${mtu} that the network says can not be set: ${(error as Error).message}`)
    return grants.map((grant) => ({ ...grant, mtu: undefined }))
  }
}
