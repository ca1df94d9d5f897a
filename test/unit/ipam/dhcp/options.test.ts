import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  messageTypes,
  type OptionName,
  type OptionValues,
  optionCode,
  optionCodes,
  read,
  write,
} from '../../../../ipam/dhcp/v4/options.ts'
import { ascii, hex, ipv4, toHex, within } from './wire.ts'

/** Reads an option from its bytes in hex. */
const reading = (option: OptionName, bytes: string | Uint8Array): unknown =>
  read({ options: new Map([[optionCodes[option], typeof bytes === 'string' ? hex(bytes) : bytes]]) }, option)

const writing = (values: OptionValues): string => toHex([...write(values).values()][0]!)

describe('values', () => {
  // From the figures of RFC 2132, RFC 3397 and RFC 3442.
  it.each<[OptionName, string, unknown]>([
    ['subnetMask', 'ffffff00', '255.255.255.0'],
    ['routers', 'c0000201', ['192.0.2.1']],
    ['routers', 'c0000201c00002fe', ['192.0.2.1', '192.0.2.254']],
    ['dnsServers', '0808080801010101', ['8.8.8.8', '1.1.1.1']],
    ['hostName', '706f642d31', 'pod-1'],
    ['domainName', '6578616d706c652e636f6d', 'example.com'],
    ['interfaceMtu', '05dc', 1500],
    ['interfaceMtu', '0044', 68],
    ['interfaceMtu', 'ffff', 65_535],
    ['broadcastAddress', 'c00002ff', '192.0.2.255'],
    [
      'staticRoutes',
      '0a000000c0000201 ac100000c0000202 c6336400c0000203',
      [
        { dst: '10.0.0.0/8', router: '192.0.2.1' },
        { dst: '172.16.0.0/16', router: '192.0.2.2' },
        { dst: '198.51.100.0/24', router: '192.0.2.3' },
      ],
    ],
    ['requestedAddress', 'c0000207', '192.0.2.7'],
    ['leaseTime', '00000e10', 3600],
    ['leaseTime', 'ffffffff', 4_294_967_295],
    ['leaseTime', '80000000', 2_147_483_648],
    ['messageType', '05', 'ACK'],
    ['serverId', 'c0000201', '192.0.2.1'],
    ['parameterRequestList', '790103060f', [121, 1, 3, 6, 15]],
    ['message', '6e6f206164647265737365732066726565', 'no addresses free'],
    ['maxMessageSize', '0240', 576],
    ['renewalTime', '00000708', 1800],
    ['rebindingTime', '00000c4e', 3150],
    ['vendorClass', '6c696e6b777269676874', 'linkwright'],
    ['clientId', '0102005e005301', hex('0102005e005301')],
    ['userClass', '036c6162', hex('036c6162')],
    ['domainSearch', '03656e67056170706c6503636f6d00', ['eng.apple.com']],
    // The figure of RFC 3442 page 3.
    ['classlessRoutes', '00 0a110001', [{ dst: '0.0.0.0/0', router: '10.17.0.1' }]],
    ['classlessRoutes', '08 0a 0a110001', [{ dst: '10.0.0.0/8', router: '10.17.0.1' }]],
    ['classlessRoutes', '18 0a0000 0a110001', [{ dst: '10.0.0.0/24', router: '10.17.0.1' }]],
    ['classlessRoutes', '10 0a11 0a110001', [{ dst: '10.17.0.0/16', router: '10.17.0.1' }]],
    ['classlessRoutes', '18 0a1b81 0a110001', [{ dst: '10.27.129.0/24', router: '10.17.0.1' }]],
    ['classlessRoutes', '19 0a e5 00 80 0a110001', [{ dst: '10.229.0.128/25', router: '10.17.0.1' }]],
    ['classlessRoutes', '20 c6336407 00000000', [{ dst: '198.51.100.7/32', router: '0.0.0.0' }]],
    [
      'classlessRoutes',
      '0c ac10 c0000201 00 c0000202',
      [
        { dst: '172.16.0.0/12', router: '192.0.2.1' },
        { dst: '0.0.0.0/0', router: '192.0.2.2' },
      ],
    ],
  ])('%s: %s, both ways', (option, bytes, value) => {
    expect(reading(option, bytes)).toEqual(value)
    expect(writing({ [option]: value })).toBe(bytes.replace(/ /g, ''))
  })

  test('have every message type', () => {
    for (const [name, number] of Object.entries(messageTypes))
      expect(reading('messageType', Uint8Array.of(number))).toBe(name)
    expect(Object.values(messageTypes)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  test('that are absent are undefined', () => {
    for (const option of Object.keys(optionCodes) as OptionName[])
      expect(read({ options: new Map() }, option)).toBeUndefined()
  })

  test('that are empty are as if absent', () => {
    for (const option of Object.keys(optionCodes) as OptionName[])
      expect([option, reading(option, '')]).toEqual([option, undefined])
  })

  it.each<[OptionName, string]>([
    ['subnetMask', 'ffffff'],
    ['subnetMask', 'ffffff0000'],
    ['routers', 'c00002'],
    ['routers', 'c0000201c0'],
    ['dnsServers', 'c0000201c00002'],
    ['interfaceMtu', 'dc'],
    ['interfaceMtu', '000005dc'],
    ['interfaceMtu', '0043'],
    ['staticRoutes', 'c0000201'],
    ['staticRoutes', '0a000000c0000201ac100000'],
    ['leaseTime', '0e10'],
    ['leaseTime', '0000000e10'],
    ['messageType', '00'],
    ['messageType', '09'],
    ['messageType', '0505'],
    ['serverId', 'c0000201c0000202'],
    ['maxMessageSize', '023f'],
    ['classlessRoutes', '21 0a000000 0a110001'],
    ['classlessRoutes', 'ff 0a000000 0a110001'],
    ['classlessRoutes', '08 0a 0a1100'],
    ['classlessRoutes', '08 0a 0a110001 08'],
    ['classlessRoutes', '18 0a 0a110001'],
    ['domainSearch', '03656e67056170706c6503636f6d'],
  ])('%s: %s is as if absent', (option, bytes) => {
    expect(reading(option, bytes)).toBeUndefined()
  })

  it.each<[string, OptionValues]>([
    ['no address', { serverId: '' }],
    ['an IPv6 address', { serverId: '::1' }],
    ['one bad address of two', { routers: ['192.0.2.1', '192.0.2'] }],
    ['a fraction', { leaseTime: 1.5 }],
    ['less than none', { leaseTime: -1 }],
    ['a number that does not fit', { leaseTime: 2 ** 32 }],
    ['a message size under 576', { maxMessageSize: 575 }],
    ['an empty text', { vendorClass: '' }],
    ['an unnameable host', { hostName: 'a b' }],
    ['a code of two bytes', { parameterRequestList: [1, 256] }],
    ['an IPv6 route', { classlessRoutes: [{ dst: '::/0', router: '192.0.2.1' }] }],
    ['a route without prefix', { classlessRoutes: [{ dst: '10.0.0.0', router: '192.0.2.1' }] }],
    ['a subnet as classful route', { staticRoutes: [{ dst: '10.1.0.0/16', router: '192.0.2.1' }] }],
  ])('are not written with %s', (_, values) => {
    expect(() => write(values)).toThrow(RangeError)
  })

  test('are written in the order given, without those that are undefined', () => {
    const options = write({ leaseTime: 1, hostName: undefined, messageType: 'OFFER' })
    expect([...options]).toEqual([
      [51, hex('00000001')],
      [53, hex('02')],
    ])
  })

  test('refuse a message type of another name', () => {
    // @ts-expect-error: there is no such type
    expect(() => write({ messageType: 'toString' })).toThrow(RangeError)
  })
})

describe('routes', () => {
  test('have the bits beyond their prefix cleared', () => {
    expect(reading('classlessRoutes', '0c acff c0000201')).toEqual([
      { dst: '172.240.0.0/12', router: '192.0.2.1' },
    ])
    expect(writing({ classlessRoutes: [{ dst: '10.255.0.0/9', router: '192.0.2.1' }] })).toBe(
      '090a80c0000201',
    )
    expect(reading('staticRoutes', '0a010203c0000201')).toEqual([{ dst: '10.0.0.0/8', router: '192.0.2.1' }])
  })

  test('have the prefix of their class', () => {
    const prefixOf = (first: string) =>
      (reading('staticRoutes', `${first}000000c0000201`) as { dst: string }[])[0]!.dst.split('/')[1]
    expect(['01', '7f', '80', 'bf', 'c0', 'df'].map(prefixOf)).toEqual(['8', '8', '16', '16', '24', '24'])
  })

  test('of no class are left out', () => {
    const good = '0a000000c0000201'
    expect(reading('staticRoutes', `00000000c0000201 e0000001c0000201 f0000000c0000201 ${good}`)).toEqual([
      { dst: '10.0.0.0/8', router: '192.0.2.1' },
    ])
    expect(reading('staticRoutes', '00000000c0000201')).toBeUndefined()
  })
})

describe('texts of a server', () => {
  it.each([
    ['zero bytes at the end are cut off', 'name taken\0\0', 'name taken'],
    ['what could move the cursor is replaced', 'a\x1b[2Jb\r\nc\x7f', 'a\ufffd[2Jb\ufffd\ufffdc\ufffd'],
    ['zero bytes in the middle too', 'a\0b', 'a\ufffdb'],
    ['what is not UTF-8 too', '\xff\xfe', '\ufffd\ufffd'],
    ['UTF-8 is kept', '\xc3\xa9', '\u00e9'],
    ['what turns the direction of writing is replaced', '\xe2\x80\xae', '\ufffd'],
    ['and what begins a new line', '\xe2\x80\xa8\xc2\x85', '\ufffd\ufffd'],
    ['quotes stay', '"}', '"}'],
  ])('%s', (_, bytes, expected) => {
    expect(reading('message', ascii(bytes))).toBe(expected)
  })

  it.each([
    ['example.com\0', 'example.com'],
    ['example.com.', 'example.com'],
    ['_tcp.Example-1.com', '_tcp.Example-1.com'],
    ['a'.repeat(63), 'a'.repeat(63)],
    ['1', '1'],
  ])('%j is a name', (bytes, expected) => {
    for (const option of ['hostName', 'domainName'] as const)
      expect(reading(option, ascii(bytes))).toBe(expected)
  })

  it.each([
    '\0',
    '.',
    '..',
    '.com',
    'a..b',
    'a b',
    'a.com b.com',
    'a\nnameserver 192.0.2.1',
    'a\0b',
    '-o',
    'a.-b',
    'a/b',
    '$(id)',
    '\xc3\xa9.com',
    'a'.repeat(64),
    `${'a.'.repeat(126)}aa`,
  ])('%j is no name', (bytes) => {
    for (const option of ['hostName', 'domainName'] as const)
      expect(reading(option, ascii(bytes))).toBeUndefined()
  })
})

describe('names of options', () => {
  it.each([
    ['dhcp-client-identifier', 61],
    ['subnet-mask', 1],
    ['routers', 3],
    ['host-name', 12],
    ['user-class', 77],
    ['vendor-class-identifier', 60],
    ['domain-name-servers', 6],
    ['domain-name', 15],
    ['interface-mtu', 26],
    ['broadcast-address', 28],
    ['static-routes', 33],
    ['domain-search', 119],
    ['classless-static-routes', 121],
    ['rfc3442-classless-static-routes', 121],
    ['0', 0],
    ['43', 43],
    ['255', 255],
  ])('%s is %d', (name, code) => {
    expect(optionCode(name)).toBe(code)
  })

  it.each(['', '256', '-1', '+1', '1.0', '0x1', ' 1', '1e1', 'Routers', 'toString', '__proto__'])(
    '%j is none',
    (name) => {
      expect(optionCode(name)).toBeNull()
    },
  )

  test('are all in the table', () => {
    const codes = new Set<number>(Object.values(optionCodes))
    expect(codes.size).toBe(Object.keys(optionCodes).length)
    for (const name of ['dhcp-lease-time', 'dhcp-message', 'dhcp-renewal-time', 'dhcp-server-identifier'])
      expect(codes).toContain(optionCode(name))
  })
})

describe('any value', () => {
  const routes = fc.array(fc.record({ dst: fc.tuple(ipv4, fc.nat(32)), router: ipv4 }), { minLength: 1 })

  test('of routes comes back, but for bits beyond the prefix', () => {
    fc.assert(
      fc.property(routes, (any) => {
        const given = any.map(({ dst, router }) => ({ dst: dst.join('/'), router }))
        const once = reading('classlessRoutes', writing({ classlessRoutes: given })) as typeof given
        expect(once.map(({ router }) => router)).toEqual(given.map(({ router }) => router))
        expect(reading('classlessRoutes', writing({ classlessRoutes: once }))).toEqual(once)
      }),
    )
  })

  test('of any bytes is undefined, or comes back', () => {
    const names = Object.keys(optionCodes) as OptionName[]
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.uint8Array({ maxLength: 60, size: 'max' }),
        (option, bytes) => {
          const value = reading(option, within(bytes))
          expect(reading(option, within(bytes, 0xff))).toEqual(value)
          if (value !== undefined) expect(reading(option, writing({ [option]: value }))).toEqual(value)
        },
      ),
      { numRuns: 1000 },
    )
  })
})
