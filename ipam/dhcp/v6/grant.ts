import * as z from 'zod/mini'
import { isLinkLocal } from '../../advertised-routes.ts'
import type { Grant } from '../grant.ts'
import type { Settings } from '../settings.ts'
import type { Lease6 } from './lease.ts'
import type { RouterAdvertisement } from './router-advertisement.ts'

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

/** Of each list: there is no end to what a hostile link can say. Resolvers use three servers. */
const MOST = 8

const isServer = (text: string): boolean => !/^(::|ff)/.test(text)

/** What was said before, without what is to be used no more, and with what is new. */
const merged = (
  known: readonly string[],
  said: readonly { readonly lifetime: number; readonly values: readonly string[] }[],
): readonly string[] => {
  const of = (alive: boolean) =>
    said.filter(({ lifetime }) => lifetime > 0 === alive).flatMap(({ values }) => values)
  const ended = of(false)
  return [...new Set([...known.filter((one) => !ended.includes(one)), ...of(true)])].slice(0, MOST)
}

/**
 * What is known of a link when a router has said something more.
 * @param router its link-local address
 */
export const heardFrom = (
  known: LinkFacts,
  { routerLifetime, recursiveServers, searchLists }: RouterAdvertisement,
  router: string,
): LinkFacts => ({
  // The first one that is a default router; one that is no more is forgotten.
  router: routerLifetime > 0 ? known.router || router : known.router === router ? '' : known.router,
  dnsServers: merged(
    known.dnsServers,
    recursiveServers.map(({ lifetime, servers }) => ({ lifetime, values: servers.filter(isServer) })),
  ),
  domainSearch: merged(
    known.domainSearch,
    searchLists.map(({ lifetime, domains }) => ({ lifetime, values: domains })),
  ),
})

/** A link-local resolver is none without its interface: RFC 4007 section 11, resolv.conf(5). */
const zoned =
  (ifName: string) =>
  (server: string): string =>
    isLinkLocal(server) ? `${server}%${ifName}` : server

/** What the interface is to have by a lease. Servers' words on DNS count more than routers'. */
export const grantOf = (
  { address, prefixLength, dnsServers, domainSearch }: Lease6,
  facts: LinkFacts,
  { priority }: Pick<Settings, 'priority'>,
  ifName: string,
): Grant => {
  const servers = dnsServers.length > 0 ? dnsServers : facts.dnsServers
  const search = domainSearch.length > 0 ? domainSearch : facts.domainSearch
  const gateway = facts.router || undefined
  return {
    ips: [{ address: `${address}/${prefixLength}`, gateway }],
    routes: gateway ? [{ dst: '::/0', gw: gateway, ...(priority === 0 ? {} : { priority }) }] : [],
    dns: {
      nameservers: servers.length > 0 ? servers.map(zoned(ifName)) : undefined,
      search: search.length > 0 ? [...search] : undefined,
    },
    mtu: undefined,
  }
}
