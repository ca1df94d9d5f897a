import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { isHostAddress, isOver, lease4, leaseOf } from '../../../../../ipam/dhcp/v4/lease.ts'
import type { Message } from '../../../../../ipam/dhcp/v4/message.ts'
import { message } from '../wire.ts'
import { ADDRESS, type Answer, answerTo, MAC, SERVER, SERVER_MAC } from './scene.ts'

const request: Message = {
  op: 'BOOTREQUEST',
  htype: 1,
  hops: 0,
  xid: 1,
  secs: 0,
  broadcast: false,
  ciaddr: '0.0.0.0',
  yiaddr: '0.0.0.0',
  siaddr: '0.0.0.0',
  giaddr: '0.0.0.0',
  chaddr: MAC,
  options: new Map(),
}

const read = (answer: Answer = {}, random = 0) =>
  leaseOf(answerTo(request, 'ACK', answer), SERVER_MAC, 1000, random)

/** Bytes as an option of a server that means ill. */
const raw = (code: number, ...bytes: number[]): Answer => ({ raw: new Map([[code, Uint8Array.from(bytes)]]) })

describe('a lease', () => {
  test('is what the acknowledgement says', () => {
    const routes = [{ dst: '10.0.0.0/8', router: '192.0.2.3' }]
    expect(
      read({
        options: {
          leaseTime: 100,
          subnetMask: '255.255.255.128',
          routers: [SERVER, '192.0.2.2'],
          classlessRoutes: routes,
          staticRoutes: routes,
          dnsServers: ['192.0.2.53'],
          domainName: 'example.org',
          domainSearch: ['a.example', 'b.example'],
          interfaceMtu: 1400,
        },
      }),
    ).toEqual({
      version: 4,
      address: ADDRESS,
      prefixLength: 25,
      server: SERVER,
      serverMac: SERVER_MAC,
      obtainedAt: 1000,
      renewAt: 51_000,
      rebindAt: 88_500,
      expiresAt: 101_000,
      routers: [SERVER, '192.0.2.2'],
      classlessRoutes: routes,
      staticRoutes: routes,
      dnsServers: ['192.0.2.53'],
      domainName: 'example.org',
      domainSearch: ['a.example', 'b.example'],
      mtu: 1400,
    })
  })

  test('that says little has the rest empty', () => {
    expect(read()).toMatchObject({
      routers: [],
      classlessRoutes: undefined,
      staticRoutes: [],
      dnsServers: [],
      domainName: '',
      domainSearch: [],
      mtu: undefined,
    })
  })

  it.each([
    ['10.1.2.3', 8],
    ['172.16.0.1', 16],
    ['192.0.2.1', 24],
  ])('without a mask, %s is in a network of its class', (yiaddr, prefixLength) => {
    for (const answer of [{ options: { subnetMask: undefined } }, raw(1, 255, 255)])
      expect(read({ ...answer, fields: { yiaddr } })).toMatchObject({ prefixLength })
  })

  it.each([
    ['255.255.255.255', 32],
    ['255.255.255.254', 31],
    ['128.0.0.0', 1],
  ])('has the mask %s', (subnetMask, prefixLength) => {
    expect(read({ options: { subnetMask } })).toMatchObject({ prefixLength })
  })

  it.each(['0.0.0.0', '0.255.255.255', '255.255.255.253', '255.0.255.0'])('has no mask %s', (subnetMask) => {
    expect(read({ options: { subnetMask } })).toBeNull()
  })

  it.each(['0.0.0.0', '127.0.0.1', '224.0.0.9', '240.0.0.1', '255.255.255.255'])(
    'comes from no server %s',
    (serverId) => {
      expect(read({ options: { serverId } })).toBeNull()
    },
  )

  test('with a lease time that is malformed is one of an hour', () => {
    expect(read(raw(51, 1))).toMatchObject({ expiresAt: 3_601_000 })
  })

  test('has only routers and name servers that can be some', () => {
    const bytes = [0, 0, 0, 0, 224, 0, 0, 1, 192, 0, 2, 1, 255, 255, 255, 255]
    expect(read(raw(3, ...bytes))).toMatchObject({ routers: [SERVER] })
    expect(read(raw(6, ...bytes))).toMatchObject({ dnsServers: [SERVER] })
  })

  test('has only routes that lead somewhere: the kernel refuses the others, and an ADD would fail', () => {
    const bad = [8, 10, 224, 0, 0, 1, 8, 11, 255, 255, 255, 255, 8, 12, 127, 0, 0, 1]
    const good = [8, 10, 192, 0, 2, 1, 8, 11, 0, 0, 0, 0]
    expect(read(raw(121, ...bad, ...good))).toMatchObject({
      classlessRoutes: [
        { dst: '10.0.0.0/8', router: SERVER },
        { dst: '11.0.0.0/8', router: '0.0.0.0' },
      ],
    })
    expect(read(raw(33, 10, 0, 0, 0, 224, 0, 0, 1, 11, 0, 0, 0, 192, 0, 2, 1))).toMatchObject({
      staticRoutes: [{ dst: '11.0.0.0/8', router: SERVER }],
    })
  })

  test('whose classless routes all lead nowhere has none, so that its routers count', () => {
    expect(read(raw(121, 8, 10, 224, 0, 0, 1))).toMatchObject({ classlessRoutes: undefined })
  })

  test('is over at its end, or never', () => {
    const lease = read({ options: { leaseTime: 10 } })!
    expect(isOver(lease, 10_999)).toBe(false)
    expect(isOver(lease, 11_000)).toBe(true)
    expect(isOver({ ...lease, expiresAt: null }, Number.MAX_VALUE)).toBe(false)
  })

  test('survives the journal', () => {
    const written = read({ options: { routers: [SERVER], interfaceMtu: 1400, leaseTime: 0xffff_ffff } })!
    expect(lease4.parse(JSON.parse(JSON.stringify(written)))).toEqual(
      Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined)),
    )
  })

  test('of any message is null or makes sense', () => {
    fc.assert(
      fc.property(message(), fc.nat(), fc.double({ min: 0, max: 0.999, noNaN: true }), (any, at, random) => {
        const lease = leaseOf(any, SERVER_MAC, at, random)
        if (!lease) return
        lease4.parse(JSON.parse(JSON.stringify(lease)))
        expect(isHostAddress(lease.address) && isHostAddress(lease.server)).toBe(true)
        const { renewAt, rebindAt, expiresAt } = lease
        if (expiresAt === null) expect([renewAt, rebindAt]).toEqual([null, null])
        else {
          expect(renewAt).toBeGreaterThan(at)
          expect(rebindAt).toBeGreaterThan(renewAt!)
          expect(expiresAt).toBeGreaterThan(rebindAt!)
        }
      }),
      { numRuns: 500 },
    )
  }, 60_000)
})

/** Messages that grant something, more often than chance would have it. */
const granting = fc
  .tuple(
    message(),
    fc.nat(0xffff_ffff),
    fc.option(fc.nat(0xffff_ffff)),
    fc.option(fc.nat(0xffff_ffff)),
    fc.constantFrom('255.255.255.0', '255.255.0.0', undefined),
  )
  .map(([any, leaseTime, t1, t2, subnetMask]) =>
    answerTo({ ...any, chaddr: MAC }, 'ACK', {
      options: {
        leaseTime,
        subnetMask,
        ...(t1 === null ? {} : { renewalTime: t1 }),
        ...(t2 === null ? {} : { rebindingTime: t2 }),
      },
    }),
  )

describe('the times of a lease', () => {
  test('are in order, whatever a server says', () => {
    fc.assert(
      fc.property(granting, fc.double({ min: 0, max: 0.999, noNaN: true }), (any, random) => {
        const lease = leaseOf(any, '', 0, random)
        if (!lease || lease.expiresAt === null) return
        expect(lease.renewAt).toBeGreaterThan(0)
        expect(lease.rebindAt).toBeGreaterThanOrEqual(lease.renewAt!)
        expect(lease.expiresAt).toBeGreaterThan(lease.rebindAt!)
      }),
      { numRuns: 300 },
    )
  }, 60_000)
})
