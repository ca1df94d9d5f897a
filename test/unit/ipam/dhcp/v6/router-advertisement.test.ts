import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeSolicitation, parseAdvertisement } from '../../../../../ipam/dhcp/v6/router-advertisement.ts'
import { hex as bytes, damaged, toHex as hex, within } from '../wire.ts'

/** From radvd 2.19. */
const captured = bytes(`8600 f89e 40 c8 0708 00000000 00000000
  0304 40 80 00001c20 00000e10 00000000 20010db8000100000000000000000000
  1905 0000 00000258 20010db8000100000000000000000053 20010db8000100000000000000000054
  1f05 0000 00000258 076578616d706c65036f726700 036c6162076578616d706c6500 000000000000
  0501 0000 00000578
  0101 b2168c6d834d`)

const header = (flags = 0) => `86000000 40 ${flags.toString(16).padStart(2, '0')} 0708 00000001 00000002`
const withOption = (option: string) => parseAdvertisement(bytes(`${header()} ${option}`))

test('an advertisement of radvd', () => {
  expect(parseAdvertisement(captured)).toEqual({
    hopLimit: 64,
    managed: true,
    other: true,
    preference: 'high',
    routerLifetime: 1800,
    reachableTime: 0,
    retransTimer: 0,
    prefixes: [
      {
        prefix: '2001:db8:1::',
        prefixLength: 64,
        onLink: true,
        autonomous: false,
        validLifetime: 7200,
        preferredLifetime: 3600,
      },
    ],
    mtu: 1400,
    recursiveServers: [{ lifetime: 600, servers: ['2001:db8:1::53', '2001:db8:1::54'] }],
    searchLists: [{ lifetime: 600, domains: ['example.org', 'lab.example'] }],
    sourceLinkLayer: 'b2:16:8c:6d:83:4d',
  })
})

test.each([
  [0x00, false, false, 'medium'],
  [0x80, true, false, 'medium'],
  [0x40, false, true, 'medium'],
  [0x08, false, false, 'high'],
  [0x18, false, false, 'low'],
  // Reserved: RFC 4191 section 2.2 has it read as the middle one.
  [0x10, false, false, 'medium'],
])('flags %i', (flags, managed, other, preference) => {
  expect(parseAdvertisement(bytes(header(flags)))).toMatchObject({ managed, other, preference })
})

test('a router that says nothing more', () => {
  expect(parseAdvertisement(bytes(header()))).toMatchObject({
    routerLifetime: 1800,
    reachableTime: 1,
    retransTimer: 2,
    prefixes: [],
    mtu: undefined,
    recursiveServers: [],
    searchLists: [],
    sourceLinkLayer: undefined,
  })
})

describe('dropped as a whole (RFC 4861 section 6.1.2)', () => {
  test.each([
    ['nothing', ''],
    ['a solicitation', `85${header().slice(2)}`],
    ['another code', `8601${header().slice(4)}`],
    ['a header cut short', header().slice(0, -2)],
    ['an option of length zero', `${header()} 0500 0000 00000578`],
    ['an option that reaches past the end', `${header()} 0502 0000 00000578`],
    ['an option without a length', `${header()} 05`],
  ])('%s', (_, text) => {
    expect(parseAdvertisement(bytes(text))).toBeNull()
  })
})

describe('an option that is passed over', () => {
  const nothing = withOption('')
  test.each([
    ['unknown', 'fd01 0000 00000000'],
    ['a link-layer address of more than Ethernet', '0102 0000 00000000 0000000000000000'],
    ['a prefix cut short', '0303 40 80 00001c20 00000e10 00000000 20010db800010000'],
    ['a prefix of 129 bits', '0304 81 80 00001c20 00000e10 00000000 20010db8000100000000000000000000'],
    ['an MTU of two units', '0502 0000 00000578 0000000000000000'],
    ['no resolver', '1901 0000 00000258'],
    ['half a resolver', '1902 0000 00000258 20010db800010000'],
    ['no domain', '1f01 0000 00000258'],
    ['a domain that is none', '1f02 0000 00000258 01200000 00000000'],
  ])('%s', (_, option) => {
    expect(withOption(option)).toEqual(nothing)
  })
})

test('an option that comes twice counts the first time, lists are all kept', () => {
  expect(withOption('0501 0000 00000578 0501 0000 00000600')?.mtu).toBe(1400)
  const rdnss = (last: string) => `1903 0000 00000258 20010db80001000000000000000000${last}`
  expect(withOption(`${rdnss('53')} ${rdnss('54')}`)?.recursiveServers).toHaveLength(2)
})

test('a solicitation', () => {
  expect(hex(encodeSolicitation())).toBe('8500000000000000')
  expect(hex(encodeSolicitation(bytes('020000000001')))).toBe('85000000000000000101020000000001')
  // 20 bytes, as IP over InfiniBand has: three units.
  expect(encodeSolicitation(new Uint8Array(20))).toHaveLength(8 + 24)
})

test('any bytes are read without an error, and none around them', () => {
  const tail = fc.uint8Array({ maxLength: 200 }).map((rest) => Uint8Array.of(134, 0, ...rest))
  fc.assert(
    fc.property(fc.oneof(tail, damaged(fc.constant(captured))), (input) => {
      expect(parseAdvertisement(within(input, 0))).toEqual(parseAdvertisement(within(input)))
    }),
  )
})
