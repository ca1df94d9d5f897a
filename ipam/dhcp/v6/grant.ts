import * as z from 'zod/mini'
import type { Grant } from '../grant.ts'
import type { Settings } from '../settings.ts'
import type { Lease6 } from './lease.ts'

const texts = z.readonly(z.array(z.string()))

/** What routers say of the link: DHCPv6 knows no routes. */
export const linkFacts = z.object({
  /** Link-local address of the default router; empty: none. */
  router: z.string(),
  dnsServers: texts,
  domainSearch: texts,
})
export type LinkFacts = z.infer<typeof linkFacts>

export const noFacts: LinkFacts = { router: '', dnsServers: [], domainSearch: [] }

/** What the interface is to have by a lease. Servers' words on DNS count more than routers'. */
export const grantOf = (
  { address, prefixLength, dnsServers, domainSearch }: Lease6,
  facts: LinkFacts,
  { priority }: Pick<Settings, 'priority'>,
): Grant => {
  const servers = dnsServers.length > 0 ? dnsServers : facts.dnsServers
  const search = domainSearch.length > 0 ? domainSearch : facts.domainSearch
  const gateway = facts.router || undefined
  return {
    ips: [{ address: `${address}/${prefixLength}`, gateway }],
    routes: gateway ? [{ dst: '::/0', gw: gateway, ...(priority === 0 ? {} : { priority }) }] : [],
    dns: {
      nameservers: servers.length > 0 ? servers : undefined,
      search: search.length > 0 ? search : undefined,
    },
    mtu: undefined,
  }
}
