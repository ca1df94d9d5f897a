import { describe, expect, test } from 'vitest'
import { applyGrant, type Grant } from '../../../../ipam/dhcp/grant.ts'
import { addressLayout } from '../../../../netlink/address.ts'
import { linkLayout } from '../../../../netlink/link/layout.ts'
import { routeLayout } from '../../../../netlink/route/layout.ts'
import { type FakeAnswer, FakeKernel, type FakeRequest } from '../../../support/fake-kernel.ts'

const [NEWLINK, SETLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE] = [16, 19, 20, 21, 24, 25]
const [EEXIST, EINVAL, ESRCH, EADDRNOTAVAIL, EPERM] = [17, 22, 3, 99, 1]
const NODAD = 2

/** A request as one would type it. */
const lineOf = (request: FakeRequest): string => {
  const { type } = request
  if (type === NEWLINK || type === SETLINK) return `mtu ${request.as(linkLayout).attributes.mtu}`
  if (type === NEWADDR || type === DELADDR) {
    const { flags, prefixLength, attributes } = request.as(addressLayout)
    const nodad = (attributes.flags ?? flags) & NODAD ? ' nodad' : ''
    return `${type === NEWADDR ? '+' : '-'}${attributes.local}/${prefixLength}${nodad}`
  }
  const { dstLength, attributes } = request.as(routeLayout)
  const { dst = 'default', gateway, priority } = attributes
  return `${type === NEWROUTE ? '+' : '-'}${dst}/${dstLength}${gateway ? ` via ${gateway}` : ''}${priority ? ` metric ${priority}` : ''}`
}

const none: Grant = { ips: [], routes: [], dns: {}, mtu: undefined }
const four: Grant = {
  ...none,
  ips: [{ address: '192.0.2.10/24', gateway: '192.0.2.1' }],
  routes: [{ dst: '0.0.0.0/0', gw: '192.0.2.1' }],
}
const six: Grant = {
  ...none,
  ips: [{ address: '2001:db8::10/128', gateway: 'fe80::1' }],
  routes: [{ dst: '::/0', gw: 'fe80::1' }],
}

/** What the kernel is told; `errors` by what is told. */
const apply = async (
  before: Grant | null,
  after: Grant | null,
  errors: Readonly<Record<string, number>> = {},
) => {
  const answer = (request: FakeRequest): FakeAnswer | undefined => {
    const errno = errors[lineOf(request)]
    return errno === undefined ? undefined : { errno }
  }
  const types = [NEWLINK, SETLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE]
  const kernel = new FakeKernel(Object.fromEntries(types.map((type) => [type, answer])))
  const differs = await applyGrant(kernel.connect(), 7, before, after)
  return { differs, told: kernel.requests.map(lineOf), datagrams: kernel.datagrams }
}

const told = async (before: Grant | null, after: Grant | null) => (await apply(before, after)).told

describe('an interface of IPv4', () => {
  test('gets what a lease grants, in one datagram', async () => {
    expect(await apply(null, four)).toEqual({
      differs: true,
      told: ['+192.0.2.10/24', '+default/0 via 192.0.2.1'],
      datagrams: 1,
    })
  })

  test('is left alone where nothing differs', async () => {
    expect(await apply(four, four)).toEqual({ differs: false, told: [], datagrams: 0 })
    expect((await apply(null, null)).differs).toBe(false)
  })

  test('loses what the lease granted', async () => {
    expect(await told(four, null)).toEqual(['-default/0 via 192.0.2.1', '-192.0.2.10/24'])
  })

  test('gets the new address before it loses the old one, and once more behind it', async () => {
    const after = { ...four, ips: [{ address: '192.0.2.11/24' }] }
    expect(await told(four, after)).toEqual([
      ...['+192.0.2.11/24', '-default/0 via 192.0.2.1', '-192.0.2.10/24'],
      ...['+192.0.2.11/24', '+default/0 via 192.0.2.1'],
    ])
  })

  test('gets other routes, and keeps those that stay', async () => {
    const routes = [
      { dst: '0.0.0.0/0', gw: '192.0.2.1' },
      { dst: '198.51.100.0/24', gw: '192.0.2.2', priority: 9 },
    ]
    expect(await told(four, { ...four, routes })).toEqual(['+198.51.100.0/24 via 192.0.2.2 metric 9'])
    expect(await told({ ...four, routes }, four)).toEqual(['-198.51.100.0/24 via 192.0.2.2 metric 9'])
    const other = [{ dst: '0.0.0.0/0', gw: '192.0.2.1', priority: 9 }]
    expect(await told(four, { ...four, routes: other })).toEqual([
      '-default/0 via 192.0.2.1',
      '+default/0 via 192.0.2.1 metric 9',
    ])
  })

  test('has a route without gateway where the gateway is 0.0.0.0', async () => {
    const routes = [{ dst: '198.51.100.0/24', gw: '0.0.0.0', scope: 253 }]
    expect(await told(null, { ...none, routes })).toEqual(['+198.51.100.0/24'])
  })

  test('gets the MTU, and keeps it where the next lease has none', async () => {
    expect(await told(four, { ...four, mtu: 1400 })).toEqual(['mtu 1400'])
    expect(await told({ ...four, mtu: 1400 }, four)).toEqual([])
    expect(await told({ ...four, mtu: 1400 }, { ...four, mtu: 1400 })).toEqual([])
  })
})

describe('an interface of IPv6', () => {
  test('gets and loses addresses alone: routes are what routers say', async () => {
    expect(await told(null, six)).toEqual(['+2001:db8::10/128 nodad'])
    expect(await told(six, null)).toEqual(['-2001:db8::10/128'])
    expect(await told(six, { ...six, ips: [{ address: '2001:db8::11/128' }] })).toEqual([
      '+2001:db8::11/128 nodad',
      '-2001:db8::10/128',
    ])
    expect(await told(six, { ...six, routes: [] })).toEqual([])
  })
})

describe('an error', () => {
  test.each<[string, string, number, Grant | null, Grant | null]>([
    ['an address that is there', '+192.0.2.10/24', EEXIST, null, four],
    ['a route that is there', '+default/0 via 192.0.2.1', EEXIST, null, four],
    ['an address that is gone', '-192.0.2.10/24', EADDRNOTAVAIL, four, null],
    ['a route that is gone', '-default/0 via 192.0.2.1', ESRCH, four, null],
    ['an MTU that its master has not', 'mtu 9000', EINVAL, four, { ...four, mtu: 9000 }],
  ])('that is none: %s', async (_, line, errno, before, after) => {
    expect((await apply(before, after, { [line]: errno })).differs).toBe(true)
  })

  test('is the first, after everything was tried', async () => {
    const attempt = apply(null, four, { '+192.0.2.10/24': EPERM, '+default/0 via 192.0.2.1': ESRCH })
    await expect(attempt).rejects.toMatchObject({ code: 'EPERM' })
  })
})
