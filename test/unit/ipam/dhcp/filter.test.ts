import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { announcement, parseArp, probe } from '../../../../ipam/dhcp/arp.ts'
import { arpFilter, icmp6Filter, udpFilter } from '../../../../ipam/dhcp/filter.ts'
import { duplicateProbe, encodeIcmp6, neighbourTypes, parseIcmp6 } from '../../../../ipam/dhcp/icmp6.ts'
import { encodeUdp, parseUdp } from '../../../../ipam/dhcp/udp.ts'
import { littleEndian } from '../../../../netlink/codec/writer.ts'
import { damaged, hex, ipv4 } from './wire.ts'

/** Big-endian load; NaN where the packet is too short. */
const load = (packet: Uint8Array, at: number, size: number): number => {
  if (at + size > packet.length) return Number.NaN
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + packet[at + i]!
  return value
}

/** Runs a program of classic BPF as the kernel does (net/core/filter.c): how many bytes pass, 0 for none. */
const run = (program: Uint8Array, packet: Uint8Array): number => {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength)
  let a = 0
  let x = 0
  for (let pc = 0; ; pc++) {
    const at = pc * 8
    const k = view.getUint32(at + 4, littleEndian)
    const jump = (yes: boolean): void => {
      pc += view.getUint8(at + (yes ? 2 : 3))
    }
    const code = view.getUint16(at, littleEndian)
    if (code === 0x20) a = load(packet, k, 4)
    else if (code === 0x28) a = load(packet, k, 2)
    else if (code === 0x30) a = load(packet, k, 1)
    else if (code === 0x48) a = load(packet, x + k, 2)
    else if (code === 0xb1) x = (load(packet, k, 1) & 15) * 4
    else if (code === 0x54) a = (a & k) >>> 0
    else if (code === 0x15) jump(a === k)
    else if (code === 0x45) jump((a & k) !== 0)
    else if (code === 0x06) return k
    else throw new Error(`no instruction ${code.toString(16)} at ${pc}`)
    if (Number.isNaN(a) || Number.isNaN(x)) return 0
  }
}

const passes = (program: Uint8Array, packet: Uint8Array): boolean => run(program, packet) > 0

const udp = encodeUdp({
  source: '192.0.2.1',
  destination: '255.255.255.255',
  sourcePort: 67,
  destinationPort: 68,
  payload: new Uint8Array(300),
})
/** The header is not verified by the filter, so its checksum is left as it was. */
const changed = (at: number, bytes: string): Uint8Array => {
  const result = udp.slice()
  result.set(hex(bytes), at)
  return result
}

describe('the filter for UDP', () => {
  it.each<[string, boolean, Uint8Array]>([
    ['a datagram to the port', true, udp],
    ['one that does not want to be fragmented', true, changed(6, '4000')],
    [
      'one behind IP options',
      true,
      Uint8Array.of(0x46, ...udp.subarray(1, 20), 1, 1, 1, 1, ...udp.subarray(20)),
    ],
    ['one from the port to another', false, changed(20, '00440043')],
    ['TCP', false, changed(9, '06')],
    ['IPv6', false, changed(0, '60')],
    ['what has a bit more than a 4', false, changed(0, 'c5')],
    ['a first fragment', false, changed(6, '2000')],
    ['a later fragment', false, changed(6, '0001')],
    ['the last fragment there can be', false, changed(6, '1fff')],
    ['what ends in the middle of the port', false, udp.subarray(0, 23)],
    ['what ends before it', false, udp.subarray(0, 9)],
    ['nothing', false, new Uint8Array()],
  ])('%s: %s', (_, expected, packet) => {
    expect(passes(udpFilter(68), packet)).toBe(expected)
  })

  test('lets any length pass whole', () => {
    expect(run(udpFilter(68), udp)).toBeGreaterThanOrEqual(65_535)
  })

  test('lets all pass that is read, and is for that port', () => {
    const any = fc.record({
      source: ipv4,
      destination: ipv4,
      sourcePort: fc.nat(0xffff),
      destinationPort: fc.constantFrom(68, 67, 0x4400),
      payload: fc.uint8Array({ maxLength: 20, size: 'max' }),
    })
    fc.assert(
      fc.property(damaged(any.map(encodeUdp)), (bytes) => {
        const read = parseUdp(bytes)
        if (read) expect(passes(udpFilter(68), bytes)).toBe(read.destinationPort === 68)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('the filter for ARP', () => {
  const claim = { mac: '02:00:5e:00:53:01', address: '192.0.2.7' }
  const packet = probe(claim)

  it.each<[string, boolean, Uint8Array]>([
    ['a probe', true, packet],
    ['an announcement', true, announcement(claim)],
    ['a reply', true, packet.with(7, 2)],
    ['a padded one', true, Uint8Array.of(...packet, ...new Uint8Array(18))],
    ['reverse ARP', false, packet.with(7, 3)],
    ['operation 257', false, packet.with(6, 1)],
    ['another hardware', false, packet.with(1, 32)],
    ['another protocol', false, packet.with(3, 6)],
    ['other lengths', false, packet.with(4, 8)],
    ['what ends too early', false, packet.subarray(0, 7)],
  ])('%s: %s', (_, expected, bytes) => {
    expect(passes(arpFilter, bytes)).toBe(expected)
  })

  test('lets all requests and replies pass that are read', () => {
    fc.assert(
      fc.property(damaged(fc.constant(packet)), (bytes) => {
        const arp = parseArp(bytes)
        if (arp) expect(passes(arpFilter, bytes)).toBe(typeof arp.operation === 'string')
      }),
    )
  })
})

describe('the filter for ICMPv6', () => {
  const packet = encodeIcmp6({
    source: 'fe80::1',
    destination: 'ff02::1',
    message: hex('8600 0000 0000 0000'),
  })

  it.each<[string, boolean, Uint8Array]>([
    ['the type', true, packet],
    ['a padded one', true, Uint8Array.of(...packet, 0, 0)],
    ['of a traffic class', true, packet.with(0, 0x6f).with(1, 0xff)],
    ['another type', false, packet.with(40, 133)],
    ['IPv4', false, packet.with(0, 0x40)],
    ['UDP', false, packet.with(6, 17)],
    ['an extension header', false, packet.with(6, 0)],
    ['what was forwarded', false, packet.with(7, 254)],
    ['what ends before its type', false, packet.subarray(0, 40)],
    ['nothing', false, new Uint8Array()],
  ])('%s: %s', (_, expected, bytes) => {
    expect(passes(icmp6Filter(134), bytes)).toBe(expected)
  })

  test('lets both types pass, and all that is read of them', () => {
    const probe = duplicateProbe('2001:db8::1', hex('010203040506')).packet
    fc.assert(
      fc.property(damaged(fc.constantFrom(packet, probe, probe.with(40, 136))), (bytes) => {
        const type = parseIcmp6(bytes)?.message[0]
        if (type !== undefined)
          expect(passes(icmp6Filter(...neighbourTypes), bytes)).toBe([135, 136].includes(type))
      }),
      { numRuns: 1000 },
    )
    expect(passes(icmp6Filter(...neighbourTypes), probe.with(40, 136))).toBe(true)
    expect(passes(icmp6Filter(...neighbourTypes), probe)).toBe(true)
  })
})
