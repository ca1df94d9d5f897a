import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  broadcast,
  contains,
  familyOf,
  formatCidr,
  formatIp,
  network,
  parseCidr,
  parseIp,
} from '../../../netlink/index.ts'

const text = (ip: Uint8Array | null) => ip && formatIp(ip)

describe('addresses as Go reads and prints them', () => {
  it.each([
    // net.ParseIP(text).String()
    ['1.2.3.4', '1.2.3.4'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8::1', '2001:db8::1'],
    ['2001:0db8:0000:0000:0001:0000:0000:0001', '2001:db8::1:0:0:1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:0:0:2:0:0:0', '1::2:0:0:0'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::ffff:102:304', '1.2.3.4'],
    ['::1.2.3.4', '::102:304'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
  ])('%s is %s', (input, expected) => {
    expect(text(parseIp(input))).toBe(expected)
  })

  it.each([
    '',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.04',
    '1.2.3.-4',
    '1.2.3.4/24',
    '0x1.2.3.4',
    '1.2..4',
    ':',
    ':::',
    '::1::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4::5:6:7:8',
    '12345::',
    'g::',
    'fe80::1%eth0',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '::1.2.3',
    '::01.2.3.4',
    '1:2:3:4:5:6:7:1.2.3.4',
    '٣.1.1.1',
  ])('%j is none', (input) => {
    expect(parseIp(input)).toBeNull()
  })

  it('prints and reads any address', () => {
    const ip = fc.uint8Array({ minLength: 4, maxLength: 4 })
    const ip6 = fc.uint8Array({ minLength: 16, maxLength: 16 })
    fc.assert(fc.property(ip, (bytes) => void expect(parseIp(formatIp(bytes))).toEqual(bytes)))
    fc.assert(
      fc.property(ip6, (bytes) => {
        const parsed = parseIp(formatIp(bytes))
        expect(parsed && formatIp(parsed)).toBe(formatIp(bytes))
        if (!formatIp(bytes).includes('.')) expect(parsed).toEqual(bytes)
      }),
    )
    // Zeros are where printing is hard.
    const groups = fc.array(fc.constantFrom(0, 0, 0, 1, 0xabcd), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(groups, (values) => {
        const bytes = Uint8Array.from(values.flatMap((group) => [group >> 8, group & 0xff]))
        const printed = formatIp(bytes)
        expect(parseIp(printed)).toEqual(bytes)
        expect(printed).toBe(new URL(`http://[${printed}]`).hostname.slice(1, -1))
      }),
    )
  })

  it('takes any text without failing', () => {
    fc.assert(fc.property(fc.string(), (input) => void parseIp(input)))
    const near = fc.string({ unit: fc.constantFrom('0', '1', 'f', ':', '.', '/', '%', ' '), maxLength: 40 })
    fc.assert(
      fc.property(near, (input) => {
        const parsed = parseIp(input)
        if (parsed) expect(text(parseIp(formatIp(parsed)))).toBe(formatIp(parsed))
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses to print anything but 4 or 16 bytes', () => {
    expect(() => formatIp(new Uint8Array(5))).toThrow(RangeError)
    expect(() => familyOf('x')).toThrow(RangeError)
  })
})

describe('prefixes', () => {
  it.each([
    ['10.1.2.3/16', '10.1.2.3/16'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['10.0.0.0/024', '10.0.0.0/24'],
    ['2001:DB8::5/64', '2001:db8::5/64'],
    ['::/0', '::/0'],
    ['::1/128', '::1/128'],
  ])('%s is %s', (input, expected) => {
    const parsed = parseCidr(input)
    expect(parsed && formatCidr(parsed)).toBe(expected)
  })

  it.each([
    '10.1.2.3',
    '10.1.2.3/',
    '10.1.2.3/33',
    '10.1.2.3/-1',
    '10.1.2.3/+1',
    '10.1.2.3/1 ',
    '::/129',
    '/24',
    'x/24',
    '10.1.2.3/24/1',
    '1.2.3.4/99999999999999999999',
  ])('%j is none', (input) => {
    expect(parseCidr(input)).toBeNull()
  })

  it('keeps the 16 bytes of a mapped address, whose prefix counts in IPv6 bits', () => {
    expect(parseCidr('::ffff:10.0.0.0/104')?.ip).toHaveLength(16)
  })

  it('has a first and a last address', () => {
    const of = (input: string, which: typeof network) => formatIp(which(parseCidr(input)!))
    expect(of('10.1.2.3/24', network)).toBe('10.1.2.0')
    expect(of('10.1.2.3/31', network)).toBe('10.1.2.2')
    expect(of('10.1.2.3/0', network)).toBe('0.0.0.0')
    expect(of('10.1.2.3/32', network)).toBe('10.1.2.3')
    expect(of('10.1.130.3/17', network)).toBe('10.1.128.0')
    expect(of('2001:db8:ffff::1/33', network)).toBe('2001:db8:8000::')
    expect(of('10.1.2.3/24', broadcast)).toBe('10.1.2.255')
    expect(of('10.1.2.3/20', broadcast)).toBe('10.1.15.255')
    expect(of('10.1.2.3/0', broadcast)).toBe('255.255.255.255')
    expect(of('10.1.2.3/32', broadcast)).toBe('10.1.2.3')
  })

  it('contains its addresses and no others', () => {
    const bits = fc.integer({ min: 0, max: 32 })
    const ip = fc.uint8Array({ minLength: 4, maxLength: 4 })
    const number = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum * 256 + byte, 0)
    fc.assert(
      fc.property(ip, bits, ip, (base, prefix, address) => {
        const cidr = { ip: base, prefix }
        const size = 2 ** (32 - prefix)
        const same = Math.floor(number(base) / size) === Math.floor(number(address) / size)
        expect(contains(cidr, address)).toBe(same)
        expect(contains(cidr, network(cidr))).toBe(true)
        expect(contains(cidr, broadcast(cidr))).toBe(true)
      }),
    )
    expect(contains(parseCidr('10.0.0.0/8')!, parseIp('2001:db8::1')!)).toBe(false)
  })
})
