/** What a client says (RFC 8415 sections 18.2.1 to 18.2.8). */
import type { Lease6 } from './lease.ts'
import { type Options, optionCodes } from './options.ts'
import type { Settings } from './surroundings.ts'

export type Outgoing = 'SOLICIT' | 'REQUEST' | 'CONFIRM' | 'RENEW' | 'REBIND' | 'RELEASE' | 'DECLINE'

/** Those that are about more than the addresses in them. */
const asking: readonly Outgoing[] = ['SOLICIT', 'REQUEST', 'RENEW', 'REBIND']

/**
 * Options of a message, but for the elapsed time. Lifetimes are the server's affair: 0 wherever a client names them.
 * @param server DUID in hex; null where the message is for all servers
 * @param addresses those that it is about
 */
export const optionsOf = (
  type: Outgoing,
  { clientId, iaid, request, provide, rapidCommit }: Settings,
  server: string | null,
  addresses: readonly string[],
): Options => {
  const iaAddress = addresses.map((address) => ({ address, preferredLifetime: 0, validLifetime: 0 }))
  return {
    clientId,
    ...(server !== null && { serverId: Uint8Array.from(Buffer.from(server, 'hex')) }),
    ...(type === 'SOLICIT' && rapidCommit && { rapidCommit }),
    iaNa: [{ iaid, t1: 0, t2: 0, iaAddress }],
    ...(asking.includes(type) && {
      optionRequest: [...new Set([optionCodes.solMaxRt, ...request])],
      others: [...provide].map(([code, value]) => ({ code, value })),
    }),
  }
}

/** Options of a RELEASE of each server that has given some of the leases. */
export const releasesOf = (settings: Settings, leases: readonly Lease6[]): Options[] => {
  const servers = new Set(leases.map(({ server }) => server))
  return [...servers].map((server) => {
    const addresses = leases.filter((lease) => lease.server === server).map(({ address }) => address)
    return optionsOf('RELEASE', settings, server, [...new Set(addresses)])
  })
}
