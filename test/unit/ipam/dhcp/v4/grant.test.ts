import { describe, expect, it, test } from 'vitest'
import { grantOf } from '../../../../../ipam/dhcp/v4/grant.ts'
import type { Lease4 } from '../../../../../ipam/dhcp/v4/lease.ts'

const lease: Lease4 = {
  version: 4,
  address: '192.0.2.10',
  prefixLength: 24,
  server: '192.0.2.1',
  serverMac: '',
  obtainedAt: 0,
  renewAt: null,
  rebindAt: null,
  expiresAt: null,
  routers: ['192.0.2.1', '192.0.2.2'],
  staticRoutes: [],
  dnsServers: [],
  domainName: '',
  domainSearch: [],
}
const plain = { priority: 0, fixedMtu: false }
const grant = (changes: Partial<Lease4> = {}, settings = plain) => grantOf({ ...lease, ...changes }, settings)

describe('what a lease grants', () => {
  test('is an address, its gateway and a default route', () => {
    expect(grant()).toEqual({
      ips: [{ address: '192.0.2.10/24', gateway: '192.0.2.1' }],
      routes: [{ dst: '0.0.0.0/0', gw: '192.0.2.1' }],
      dns: { nameservers: undefined, domain: undefined, search: undefined },
      mtu: undefined,
    })
  })

  test('without a router is an address', () => {
    expect(grant({ routers: [] })).toMatchObject({
      ips: [{ address: '192.0.2.10/24', gateway: undefined }],
      routes: [],
    })
  })

  test('has the static routes before the default route', () => {
    expect(grant({ staticRoutes: [{ dst: '10.0.0.0/8', router: '192.0.2.3' }] }).routes).toEqual([
      { dst: '10.0.0.0/8', gw: '192.0.2.3' },
      { dst: '0.0.0.0/0', gw: '192.0.2.1' },
    ])
  })

  test('has the classless routes alone where there are some (RFC 3442)', () => {
    const { ips, routes } = grant({
      staticRoutes: [{ dst: '10.0.0.0/8', router: '192.0.2.3' }],
      classlessRoutes: [
        { dst: '198.51.100.0/25', router: '192.0.2.4' },
        { dst: '203.0.113.0/24', router: '0.0.0.0' },
      ],
    })
    expect(routes).toEqual([
      { dst: '198.51.100.0/25', gw: '192.0.2.4' },
      { dst: '203.0.113.0/24', gw: '0.0.0.0', scope: 253 },
    ])
    // The routers do not count then, so there is no way out that could be told.
    expect(ips).toEqual([{ address: '192.0.2.10/24', gateway: undefined }])
  })

  test('has the gateway of the classless default route, not the router', () => {
    const classlessRoutes = [
      { dst: '198.51.100.0/25', router: '192.0.2.4' },
      { dst: '0.0.0.0/0', router: '192.0.2.9' },
    ]
    expect(grant({ classlessRoutes }).ips).toEqual([{ address: '192.0.2.10/24', gateway: '192.0.2.9' }])
    const onLink = [{ dst: '0.0.0.0/0', router: '0.0.0.0' }]
    expect(grant({ classlessRoutes: onLink }).ips).toEqual([{ address: '192.0.2.10/24', gateway: undefined }])
  })

  test('has the metric of the configuration in every route', () => {
    const staticRoutes = [{ dst: '10.0.0.0/8', router: '192.0.2.3' }]
    const { routes } = grant({ staticRoutes }, { ...plain, priority: 50 })
    expect(routes.map(({ priority }) => priority)).toEqual([50, 50])
    expect(grant().routes.map((one) => 'priority' in one)).toEqual([false])
  })

  test('has what resolv.conf needs', () => {
    expect(
      grant({ dnsServers: ['192.0.2.53'], domainName: 'example.org', domainSearch: ['a.example'] }).dns,
    ).toEqual({ nameservers: ['192.0.2.53'], domain: 'example.org', search: ['a.example'] })
  })

  it.each([
    [1400, false, 1400],
    [68, false, 68],
    [1400, true, undefined],
    [undefined, false, undefined],
  ])('of MTU %s, fixed: %s', (mtu, fixedMtu, expected) => {
    expect(grant({ mtu }, { ...plain, fixedMtu }).mtu).toBe(expected)
  })
})
