import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { grantOf, heardFrom, type LinkFacts, noFacts } from '../../../../../ipam/dhcp/v6/grant.ts'
import type { Lease6 } from '../../../../../ipam/dhcp/v6/lease.ts'
import type { RouterAdvertisement } from '../../../../../ipam/dhcp/v6/router-advertisement.ts'

const lease: Lease6 = {
  version: 6,
  address: '2001:db8::10',
  prefixLength: 128,
  server: '000300010277',
  obtainedAt: 0,
  renewAt: null,
  rebindAt: null,
  preferredUntil: null,
  expiresAt: null,
  dnsServers: [],
  domainSearch: [],
}
const router = 'fe80::1'
const facts: LinkFacts = { router, dnsServers: ['2001:db8::53'], domainSearch: ['ra.example'] }

const grant = (changes: Partial<Lease6> = {}, known = facts, priority = 0) =>
  grantOf({ ...lease, ...changes }, known, { priority }, 'eth0')

describe('what a lease grants', () => {
  test('is an address, and by the router a way out and resolvers', () => {
    expect(grant()).toEqual({
      ips: [{ address: '2001:db8::10/128', gateway: router }],
      routes: [{ dst: '::/0', gw: router }],
      dns: { nameservers: ['2001:db8::53'], search: ['ra.example'] },
      mtu: undefined,
    })
  })

  test('is an address alone where no router was heard', () => {
    expect(grant({}, noFacts)).toEqual({
      ips: [{ address: '2001:db8::10/128', gateway: undefined }],
      routes: [],
      dns: { nameservers: undefined, search: undefined },
      mtu: undefined,
    })
  })

  test('has the metric of the configuration', () => {
    expect(grant({}, facts, 50).routes).toEqual([{ dst: '::/0', gw: router, priority: 50 }])
  })

  test('has the server’s words on DNS before the router’s, each for itself', () => {
    expect(grant({ dnsServers: ['2001:db8::54'] }).dns).toEqual({
      nameservers: ['2001:db8::54'],
      search: ['ra.example'],
    })
    expect(grant({ domainSearch: ['a.example'] }).dns.search).toEqual(['a.example'])
  })

  test('names the interface of a resolver that is on the link', () => {
    expect(grant({ dnsServers: ['fe80::53', '2001:db8::53'] }).dns.nameservers).toEqual([
      'fe80::53%eth0',
      '2001:db8::53',
    ])
  })
})

type Said = Partial<Pick<RouterAdvertisement, 'routerLifetime' | 'recursiveServers' | 'searchLists'>>

const heard = (known: LinkFacts, said: Said, from = router): LinkFacts =>
  heardFrom(
    known,
    {
      ...{
        hopLimit: 64,
        managed: true,
        other: false,
        preference: 'medium',
        reachableTime: 0,
        retransTimer: 0,
      },
      ...{ prefixes: [], mtu: undefined, sourceLinkLayer: undefined },
      ...{ routerLifetime: 1800, recursiveServers: [], searchLists: [] },
      ...said,
    },
    from,
  )

describe('what routers say', () => {
  test('the first that is a default router is it, until it is none any more', () => {
    const first = heard(noFacts, {})
    expect(first.router).toBe(router)
    expect(heard(first, {}, 'fe80::2').router).toBe(router)
    expect(heard(first, { routerLifetime: 0 }, 'fe80::2').router).toBe(router)
    expect(heard(first, { routerLifetime: 0 }).router).toBe('')
    expect(heard(noFacts, { routerLifetime: 0 }).router).toBe('')
  })

  test('resolvers come together, in order, each once', () => {
    const one = heard(noFacts, {
      recursiveServers: [
        { lifetime: 600, servers: ['2001:db8::1', '2001:db8::2'] },
        { lifetime: 600, servers: ['2001:db8::2', 'fe80::53'] },
      ],
      searchLists: [{ lifetime: 600, domains: ['a.example'] }],
    })
    expect(one).toMatchObject({
      dnsServers: ['2001:db8::1', '2001:db8::2', 'fe80::53'],
      domainSearch: ['a.example'],
    })
    const two = heard(one, { recursiveServers: [{ lifetime: 600, servers: ['2001:db8::3', '2001:db8::1'] }] })
    expect(two.dnsServers).toEqual(['2001:db8::1', '2001:db8::2', 'fe80::53', '2001:db8::3'])
    expect(two.domainSearch).toEqual(['a.example'])
  })

  test('resolvers go when their time is said to be over', () => {
    const known = {
      router,
      dnsServers: ['2001:db8::1', '2001:db8::2'],
      domainSearch: ['a.example', 'b.example'],
    }
    expect(
      heard(known, {
        recursiveServers: [{ lifetime: 0, servers: ['2001:db8::1'] }],
        searchLists: [{ lifetime: 0, domains: ['b.example', 'c.example'] }],
      }),
    ).toEqual({ router, dnsServers: ['2001:db8::2'], domainSearch: ['a.example'] })
  })

  test('resolvers that no host can ask are left out', () => {
    const servers = ['::', '::1', 'ff02::fb', '2001:db8::1']
    expect(heard(noFacts, { recursiveServers: [{ lifetime: 600, servers }] }).dnsServers).toEqual([
      '2001:db8::1',
    ])
  })

  test('has an end, whatever a hostile link says', () => {
    const said = fc.array(
      fc.record({
        lifetime: fc.constantFrom(0, 600),
        servers: fc.array(
          fc.nat(0xffff).map((n) => `2001:db8::${n.toString(16)}`),
          { maxLength: 60, size: 'max' },
        ),
      }),
      { maxLength: 8, size: 'max' },
    )
    fc.assert(
      fc.property(fc.array(said), (all) => {
        const known = all.reduce(
          (sum, recursiveServers) =>
            heard(sum, {
              recursiveServers,
              searchLists: recursiveServers.map(({ lifetime, servers }) => ({ lifetime, domains: servers })),
            }),
          noFacts,
        )
        expect(known.dnsServers.length).toBeLessThanOrEqual(8)
        expect(known.domainSearch.length).toBeLessThanOrEqual(8)
      }),
    )
  })
})
