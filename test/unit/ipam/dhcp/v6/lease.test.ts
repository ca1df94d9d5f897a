import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answerOf, earliest, isHostAddress, lease6 } from '../../../../../ipam/dhcp/v6/lease.ts'
import { encode, parse } from '../../../../../ipam/dhcp/v6/message.ts'
import { INFINITY } from '../../../../../ipam/dhcp/v6/options.ts'
import { anyMessage } from './arbitrary.ts'
import {
  ADDRESS,
  type Answer,
  answerTo,
  CLIENT_ID,
  IAID,
  OTHER_ADDRESS,
  refusal,
  refusalOfAll,
  SERVER,
} from './scene.ts'

const request = { type: 'REQUEST', transactionId: 1, options: { clientId: CLIENT_ID } } as const
const read = (answer: Answer, held: string | null = null) =>
  answerOf(answerTo(request, 'REPLY', answer), SERVER, { iaid: IAID, held, now: 0 })
const iaAddress = (address: string, preferredLifetime: number, validLifetime: number) => ({
  address,
  preferredLifetime,
  validLifetime,
})

describe('T1 and T2', () => {
  test.each<
    [string, [t1: number, t2: number, preferred: number, valid: number], [number | null, number | null]]
  >([
    ['as the server says', [100, 200, 300, 400], [100, 200]],
    ['equal', [100, 100, 300, 400], [100, 100]],
    ['left to the client: half and four fifths of the preferred lifetime', [0, 0, 100, 1000], [50, 80]],
    ['of an address that is deprecated: of the valid lifetime', [0, 0, 0, 1000], [500, 800]],
    ['T1 left to the client, not after T2', [0, 30, 100, 100], [30, 30]],
    ['T2 left to the client, not before T1', [90, 0, 100, 1000], [90, 90]],
    ['of an address for ever', [0, 0, INFINITY, INFINITY], [null, null]],
    ['preferred for ever is for ever', [0, 0, INFINITY, INFINITY], [null, null]],
    ['never, though the address ends (section 7.7)', [INFINITY, INFINITY, 100, 100], [null, null]],
    ['T1 never, and T2 left to the client', [INFINITY, 0, 100, 100], [null, null]],
    ['T2 never', [50, INFINITY, 100, 100], [50, null]],
    ['T1 after the end: half of it', [200, 300, 100, 100], [50, 300]],
    ['of a second', [0, 0, 1, 1], [0.5, 0.8]],
  ])('%s', (_, [t1, t2, preferred, valid], [renew, rebind]) => {
    const { lease } = read({ preferred, valid, ia: { t1, t2 } })
    const seconds = (moment: number | null | undefined) => (moment === null ? null : moment! / 1000)
    expect([seconds(lease?.renewAt), seconds(lease?.rebindAt)]).toEqual([renew, rebind])
  })

  test('that contradict each other make the IA as if it were not there (section 21.4)', () => {
    expect(read({ ia: { t1: 200, t2: 100 } })).toMatchObject({ refusal: 'missing' })
    // 0 is no time: the client's choice.
    expect(read({ ia: { t1: 200, t2: 0 } }).lease).toBeDefined()
  })

  test('the first IA that is good counts', () => {
    const ia = { iaid: IAID, t1: 1, t2: 2, iaAddress: [iaAddress(ADDRESS, 3, 4)] }
    const { lease } = read({ options: { iaNa: [{ ...ia, iaid: 9 }, { ...ia, t1: 3 }, ia] } })
    expect(lease).toMatchObject({ renewAt: 1000 })
  })
})

test('lifetimes end with the message counted from, and never where they are infinite', () => {
  expect(read({}).lease).toMatchObject({ preferredUntil: 3_000_000, expiresAt: 4_000_000, obtainedAt: 0 })
  expect(read({ preferred: 10, valid: INFINITY }).lease).toMatchObject({
    preferredUntil: 10_000,
    expiresAt: null,
  })
})

describe('the address', () => {
  const choose = (addresses: ReturnType<typeof iaAddress>[], held: string | null = null) =>
    read({ ia: { iaAddress: addresses } }, held).lease?.address

  test('is the one that is held, where it may be kept', () => {
    const both = [iaAddress(OTHER_ADDRESS, 10, 20), iaAddress(ADDRESS, 0, 20)]
    expect(choose(both, ADDRESS)).toBe(ADDRESS)
    expect(choose(both)).toBe(OTHER_ADDRESS)
  })

  test('is another where the one that is held ends', () => {
    expect(choose([iaAddress(ADDRESS, 0, 0), iaAddress(OTHER_ADDRESS, 10, 20)], ADDRESS)).toBe(OTHER_ADDRESS)
  })

  test('is one that is not deprecated, or else one that is', () => {
    expect(choose([iaAddress(ADDRESS, 0, 20), iaAddress(OTHER_ADDRESS, 10, 20)])).toBe(OTHER_ADDRESS)
    expect(choose([iaAddress(ADDRESS, 0, 20)])).toBe(ADDRESS)
  })

  test('is none that was refused', () => {
    const refused = {
      ...iaAddress(ADDRESS, 10, 20),
      statusCode: { code: 'NotOnLink', message: 'moved' },
    } as const
    expect(choose([refused, iaAddress(OTHER_ADDRESS, 10, 20)])).toBe(OTHER_ADDRESS)
    expect(read({ ia: { iaAddress: [refused] } })).toEqual({ refusal: 'NotOnLink', text: 'moved' })
  })

  test.each([
    ['2001:db8::1', true],
    ['fd00::1', true],
    ['fec0::1', true],
    ['::', false],
    ['::1', false],
    ['::ffff:10.0.0.1', false],
    ['64:ff9b::1', false],
    ['fe80::1', false],
    ['febf::1', false],
    ['ff02::1', false],
    ['10.0.0.1', false],
    ['', false],
  ])('%s is one that a host can have: %s', (address, expected) => {
    expect(isHostAddress(address)).toBe(expected)
    if (address.includes(':')) expect(read({ address }).lease !== undefined).toBe(expected)
  })
})

describe('a refusal', () => {
  test.each<[string, Answer, string | null, unknown]>([
    ['of the message', refusalOfAll('UnspecFail', 'x'), null, { refusal: 'UnspecFail', text: 'x' }],
    ['of the IA', refusal('NoAddrsAvail', 'y'), null, { refusal: 'NoAddrsAvail', text: 'y' }],
    ['without a name', refusal(99, ''), null, { refusal: 99, text: '' }],
    ['by taking away what was held', { preferred: 0, valid: 0 }, ADDRESS, { refusal: 'withdrawn', text: '' }],
    [
      'by taking away something else',
      { preferred: 0, valid: 0 },
      OTHER_ADDRESS,
      { refusal: 'missing', text: '' },
    ],
    [
      'by taking away what was held, whatever it is called',
      { preferred: 0, valid: 0, options: { statusCode: { code: 'NoAddrsAvail', message: 'z' } } },
      ADDRESS,
      { refusal: 'withdrawn', text: 'z' },
    ],
    [
      'of the message, which says nothing of what is held',
      { preferred: 0, valid: 0, options: { statusCode: { code: 'NoAddrsAvail', message: 'z' } } },
      OTHER_ADDRESS,
      { refusal: 'NoAddrsAvail', text: 'z' },
    ],
    ['by silence', { ia: { iaAddress: [] } }, ADDRESS, { refusal: 'missing', text: '' }],
  ])('%s', (_, answer, held, expected) => {
    expect(read(answer, held)).toEqual(expected)
  })

  test('a status of Success is none', () => {
    const statusCode = { code: 'Success', message: '' } as const
    expect(read({ ia: { statusCode }, options: { statusCode } }).lease?.address).toBe(ADDRESS)
  })
})

test('resolvers that no host can ask are left out', () => {
  const dnsServers = ['2001:db8::53', '::', 'ff02::fb', '::1', 'fe80::53', '::ffff:10.0.0.1']
  expect(read({ options: { dnsServers } }).lease?.dnsServers).toEqual(['2001:db8::53', 'fe80::53'])
})

test('the earliest of some moments', () => {
  expect(earliest(null, 3, 2, null)).toBe(2)
  expect(earliest(null, null)).toBeNull()
  expect(earliest()).toBeNull()
})

describe('a lease in a file', () => {
  test('is the same when it is read', () => {
    const { lease } = read({ options: { dnsServers: ['2001:db8::53'], domainSearch: ['example.org'] } })
    expect(lease6.parse(JSON.parse(JSON.stringify(lease)))).toEqual(lease)
  })

  test.each([
    ['an IPv4 address', { address: '10.0.0.1' }],
    ['no address', { address: '' }],
    ['another prefix', { prefixLength: 64 }],
    ['a server that is no DUID', { server: 'zz' }],
    ['no server', { server: '' }],
    ['another version', { version: 4 }],
    ['a moment that is text', { expiresAt: '1' }],
  ])('is none with %s', (_, change) => {
    expect(lease6.safeParse({ ...read({}).lease, ...change }).success).toBe(false)
  })

  test('is what any message gives, where it gives one', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), (message, now) => {
        const { iaNa = [] } = message.options
        const { lease } = answerOf(parse(encode(message))!, SERVER, {
          iaid: iaNa[0]?.iaid ?? 0,
          held: null,
          now,
        })
        if (!lease) return
        expect(lease6.safeParse(lease).success).toBe(true)
        const { renewAt, rebindAt, preferredUntil, expiresAt } = lease
        const never = Number.POSITIVE_INFINITY
        expect(renewAt ?? never).toBeGreaterThan(now)
        expect(rebindAt ?? never).toBeGreaterThanOrEqual(renewAt ?? never)
        expect(expiresAt ?? never).toBeGreaterThan(now)
        expect(expiresAt ?? never).toBeGreaterThanOrEqual(preferredUntil ?? never)
      }),
    )
  })
})
