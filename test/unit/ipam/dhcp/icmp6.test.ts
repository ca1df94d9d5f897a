import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  duplicateProbe,
  encodeIcmp6,
  isDuplicate,
  multicastMac,
  NONCE_LENGTH,
  parseIcmp6,
} from '../../../../ipam/dhcp/icmp6.ts'
import { formatIp } from '../../../../netlink/ip.ts'
import { damaged, hex, within } from './wire.ts'

const ADDRESS = '2001:db8::1:2:3'
const nonce = hex('010203040506')
const other = hex('010203040507')

const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatIp)
const anyPacket = fc.record({
  source: ipv6,
  destination: ipv6,
  message: fc.uint8Array({ minLength: 4, maxLength: 60, size: 'max' }),
})

/** What a host says that has {@link ADDRESS} and is asked for it by a probe; its checksum is left out. */
const advertisement = hex(`
  6000 0000 0020 3aff fe80 0000 0000 0000 0077 00ff fe00 0001 ff02 0000 0000 0000 0000 0000 0000 0001
  8800 0000 2000 0000 2001 0db8 0000 0000 0000 0001 0002 0003 0201 0277 0000 0001`)

describe('a packet', () => {
  test('is read as it was written, its checksum in place', () => {
    fc.assert(
      fc.property(anyPacket, ({ source, destination, message }) => {
        const bytes = encodeIcmp6({ source, destination, message })
        const read = parseIcmp6(bytes)!
        expect(read).toMatchObject({ source, destination })
        // But for the checksum, which the caller left to this.
        expect(read.message.with(2, 0).with(3, 0)).toEqual(message.with(2, 0).with(3, 0))
        expect(bytes.subarray(4, 8)).toEqual(Uint8Array.of(0, message.length, 58, 255))
      }),
    )
  })

  test('has the checksum that RFC 4443 section 2.3 wants', () => {
    fc.assert(
      fc.property(anyPacket, (packet) => {
        const bytes = encodeIcmp6(packet)
        const word = (at: number) => bytes[at]! * 256 + (bytes[at + 1] ?? 0)
        let total = packet.message.length + 58
        for (let at = 8; at < bytes.length; at += 2) total += word(at)
        expect(total % 0xffff).toBe(0)
      }),
    )
  })

  test('of an address that is none is not written', () => {
    for (const source of ['', '192.0.2.1', 'fe80::1%eth0', 'x'])
      expect(() => encodeIcmp6({ source, destination: '::', message: new Uint8Array(8) })).toThrow(RangeError)
  })

  const good = encodeIcmp6({ source: 'fe80::1', destination: 'ff02::1', message: hex('8600 0000 0011 2233') })
  it.each([
    ['nothing', new Uint8Array()],
    ['a header alone', good.subarray(0, 40)],
    ['a cut one', good.subarray(0, 47)],
    ['IPv4', good.with(0, 0x40)],
    ['UDP', good.with(6, 17)],
    ['extension headers', good.with(6, 0)],
    ['what a router has forwarded', good.with(7, 254)],
    ['a length beyond its end', good.with(5, 9)],
    ['a length of next to nothing', good.with(5, 3)],
    ['a damaged message', good.with(47, 0x34)],
    ['a damaged address', good.with(8, 0xff)],
    ['a damaged checksum', good.with(42, good[42]! ^ 1)],
  ])('that is none: %s', (_, bytes) => {
    expect(parseIcmp6(bytes)).toBeNull()
  })

  test('may have something behind it', () => {
    const padded = Uint8Array.of(...good, 1, 2, 3)
    expect(parseIcmp6(padded)).toEqual(parseIcmp6(good))
  })

  test('that is hostile is read or passed over, and nothing beyond it', () => {
    const inputs = fc.oneof(
      fc.uint8Array({ maxLength: 100, size: 'max' }),
      damaged(anyPacket.map(encodeIcmp6)),
    )
    fc.assert(
      fc.property(inputs, (bytes) => {
        expect(parseIcmp6(within(bytes))).toEqual(parseIcmp6(within(bytes, 0xa5)))
      }),
      { numRuns: 1000 },
    )
  })
})

describe('a probe', () => {
  test('asks those who may have the address, as one who has none (RFC 4862 section 5.4.2)', () => {
    const { packet, mac } = duplicateProbe(ADDRESS, nonce)
    expect(mac).toEqual(hex('3333 ff02 0003'))
    const read = parseIcmp6(packet)!
    expect(read).toMatchObject({ source: '::', destination: 'ff02::1:ff02:3' })
    expect(read.message.with(2, 0).with(3, 0)).toEqual(
      hex('8700 0000 0000 0000 2001 0db8 0000 0000 0000 0001 0002 0003 0e01 0102 0304 0506'),
    )
    expect(nonce).toHaveLength(NONCE_LENGTH)
  })

  test('of what is no IPv6 address is none', () => {
    expect(() => duplicateProbe('192.0.2.1', nonce)).toThrow(RangeError)
  })
})

test('the group address of Ethernet', () => {
  expect(multicastMac(hex('ff02 0000 0000 0000 0000 0000 0001 0002'))).toEqual(hex('3333 0001 0002'))
})

describe('a duplicate', () => {
  const packet = (message: Uint8Array, source = '::') => ({ source, destination: 'ff02::1', message })
  const asked = (by: Uint8Array) => parseIcmp6(duplicateProbe(ADDRESS, by).packet)!
  const solicitation = asked(other).message

  it.each<[string, boolean, ReturnType<typeof packet>]>([
    ['an answer', true, packet(advertisement.subarray(40), 'fe80::77:ff:fe00:1')],
    ['an answer without options', true, packet(advertisement.subarray(40, 64), 'fe80::77:ff:fe00:1')],
    ['who asks for it, too', true, asked(other)],
    ['who asks for it, too, without a nonce', true, packet(solicitation.subarray(0, 24))],
    [
      'a nonce of another length',
      true,
      packet(
        hex(`${Buffer.from(solicitation.subarray(0, 24)).toString('hex')}0e02 010203040506 0000000000000000`),
      ),
    ],
    [
      'a nonce behind another option',
      false,
      packet(Uint8Array.of(...solicitation.subarray(0, 24), 99, 1, ...new Uint8Array(6), 14, 1, ...nonce)),
    ],
    ['an option without length', true, packet(solicitation.with(25, 0))],
    ['an option beyond the end', true, packet(solicitation.with(25, 2))],
    ['the probe itself, sent back', false, asked(nonce)],
    ['who looks for its MAC', false, packet(solicitation, 'fe80::5')],
    ['another address', false, packet(solicitation.with(23, 9))],
    ['another message', false, packet(solicitation.with(0, 134))],
    ['a cut one', false, packet(advertisement.subarray(40, 63))],
    ['nothing', false, packet(new Uint8Array())],
  ])('%s: %s', (_, expected, heard) => {
    expect(isDuplicate(heard, ADDRESS, nonce)).toBe(expected)
  })

  test('is never found in hostile bytes by an error', () => {
    fc.assert(
      fc.property(damaged(fc.constant(solicitation)), (message) => {
        const found = isDuplicate(packet(within(message)), ADDRESS, nonce)
        expect(isDuplicate(packet(within(message, 0xa5)), ADDRESS, nonce)).toBe(found)
      }),
      { numRuns: 1000 },
    )
  })
})
