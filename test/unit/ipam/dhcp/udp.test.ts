import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { encodeUdp, parseUdp, type UdpDatagram } from '../../../../ipam/dhcp/udp.ts'
import { ascii, damaged, hex, ipv4, within } from './wire.ts'

const datagram: UdpDatagram = {
  source: '192.0.2.1',
  destination: '198.51.100.2',
  sourcePort: 68,
  destinationPort: 67,
  payload: ascii('abc'),
}

/**
 * The words of the IP header sum to 0x27166, so the checksum is ~(0x7166 + 2). Those of the pseudo header, 0xc000 0x0201
 * 0xc633 0x6402 0x0011 0x000b, of the UDP header, 0x0044 0x0043 0x000b, and of the data, 0x6162 0x6300, sum to 0x2b146.
 */
const packet = hex(`
  4500 001f 0000 0000 4011 8e97 c0000201 c6336402
  0044 0043 000b 4eb7 616263`)

/** The internet checksum in the plainest way: one's complement addition, word by word. */
const verify = (bytes: Uint8Array): number => {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at]! * 256 + (bytes[at + 1] ?? 0)
    if (sum > 0xffff) sum -= 0xffff
  }
  return sum
}

const pseudo = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.of(...bytes.subarray(12, 20), 0, 17, ...bytes.subarray(24, 26), ...bytes.subarray(20))

/** The packet with other bytes at `at`, its header checksum made anew. */
const changed = (at: number, bytes: string, from = packet): Uint8Array => {
  const result = from.slice()
  result.set(hex(bytes), at)
  const header = (result[0]! & 15) * 4
  result.set([0, 0], 10)
  const sum = 0xffff - verify(result.subarray(0, header))
  result.set([sum >> 8, sum & 0xff], 10)
  return result
}

describe('a datagram', () => {
  test('is written with both checksums', () => {
    expect(verify(packet.subarray(0, 20))).toBe(0xffff)
    expect(verify(pseudo(packet))).toBe(0xffff)
    expect(encodeUdp(datagram)).toEqual(packet)
  })

  test('is read', () => {
    expect(parseUdp(packet)).toEqual(datagram)
  })

  test('is read from a padded frame', () => {
    expect(parseUdp(Uint8Array.of(...packet, ...new Uint8Array(18).fill(0xee)))).toEqual(datagram)
  })

  test('is read behind IP options', () => {
    const padded = Uint8Array.of(...packet.subarray(0, 20), 1, 1, 1, 1, ...packet.subarray(20))
    const withOptions = changed(0, '46000023', padded)
    expect(parseUdp(withOptions)).toEqual(datagram)
  })

  test('may end before its packet', () => {
    expect(parseUdp(changed(24, '000a'))?.payload).toEqual(ascii('ab'))
  })

  test('may be empty, and as long as a packet', () => {
    for (const length of [0, 1, 65_507]) {
      const payload = new Uint8Array(length).fill(0xff)
      const bytes = encodeUdp({ ...datagram, payload })
      expect(verify(bytes.subarray(0, 20))).toBe(0xffff)
      expect(verify(pseudo(bytes))).toBe(0xffff)
      expect(Buffer.compare(parseUdp(bytes)!.payload, payload)).toBe(0)
    }
    expect(() => encodeUdp({ ...datagram, payload: new Uint8Array(65_508) })).toThrow(RangeError)
  })

  test('whose checksum would be zero says 0xffff, RFC 768', () => {
    const payload = hex('131c')
    // All that is summed up but the payload makes 0x1ece2, which is 0xece3 with its carry.
    const bytes = encodeUdp({ ...datagram, payload })
    expect(verify(pseudo(bytes))).toBe(0xffff)
    expect(bytes.subarray(26, 28)).toEqual(hex('ffff'))
  })

  test('with a wrong or missing checksum of its own is read', () => {
    for (const sum of ['0000', '1234']) expect(parseUdp(changed(26, sum))).toEqual(datagram)
  })

  test('may be one that does not want to be fragmented', () => {
    expect(parseUdp(changed(6, '4000'))).toEqual(datagram)
  })

  it.each([
    ['nothing', new Uint8Array()],
    ['a cut header', packet.subarray(0, 19)],
    ['a cut packet', packet.subarray(0, -1)],
    ['a damaged header', packet.with(8, 63)],
    ['IPv6', changed(0, '65')],
    ['TCP', changed(9, '06')],
    ['a header length under 20', changed(0, '44')],
    ['a header length past the end', changed(0, '4f')],
    ['a total length past the end', changed(2, '0020')],
    ['a total length without room for UDP', changed(2, '001b')],
    ['a total length of 0', changed(2, '0000')],
    ['a first fragment', changed(6, '2000')],
    ['a later fragment', changed(6, '0001')],
    ['a UDP length under 8', changed(24, '0007')],
    ['a UDP length past the end', changed(24, '000c')],
    ['a UDP length that takes padding in', changed(24, '000c', Uint8Array.of(...packet, 0))],
  ])('is not read from %s', (_, bytes) => {
    expect(parseUdp(bytes)).toBeNull()
  })

  it.each(['', '::1', '192.0.2'])('is not written to %j', (destination) => {
    expect(() => encodeUdp({ ...datagram, destination })).toThrow(RangeError)
  })
})

describe('any datagram', () => {
  const any = fc.record({
    source: ipv4,
    destination: ipv4,
    sourcePort: fc.nat(0xffff),
    destinationPort: fc.nat(0xffff),
    payload: fc.uint8Array({ maxLength: 100, size: 'max' }),
  })

  test('comes back, its checksums right', () => {
    fc.assert(
      fc.property(any, (given) => {
        const bytes = encodeUdp(given)
        expect(verify(bytes.subarray(0, 20))).toBe(0xffff)
        expect(verify(pseudo(bytes))).toBe(0xffff)
        expect(bytes.subarray(26, 28)).not.toEqual(hex('0000'))
        expect(parseUdp(within(bytes))).toEqual(given)
      }),
    )
  })

  test('damaged is read without an error', () => {
    fc.assert(
      fc.property(damaged(any.map(encodeUdp)), (bytes) => {
        expect(parseUdp(within(bytes, 0))).toEqual(parseUdp(within(bytes, 0xff)))
      }),
    )
  })
})
