import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { type Arp, announcement, isConflict, parseArp, probe } from '../../../../ipam/dhcp/arp.ts'
import { damaged, hex, within } from './wire.ts'

const claim = { mac: '02:00:5e:00:53:01', address: '192.0.2.7' }
const other = '02:00:5e:00:53:02'
const none = '00:00:00:00:00:00'

const probed = hex('0001 0800 06 04 0001 02005e005301 00000000 000000000000 c0000207')
const announced = hex('0001 0800 06 04 0001 02005e005301 c0000207 000000000000 c0000207')

describe('packets', () => {
  test('a probe claims nothing, RFC 5227 section 1.1', () => {
    expect(probe(claim)).toEqual(probed)
    expect(parseArp(probed)).toEqual({
      operation: 'request',
      senderMac: claim.mac,
      senderIp: '0.0.0.0',
      targetMac: none,
      targetIp: claim.address,
    })
  })

  test('an announcement claims the address', () => {
    expect(announcement(claim)).toEqual(announced)
    expect(parseArp(announced)).toMatchObject({ senderIp: claim.address, targetIp: claim.address })
  })

  test('are read whatever they ask, and from padded frames', () => {
    expect(parseArp(announced.with(7, 2))?.operation).toBe('reply')
    expect(parseArp(announced.with(7, 9))?.operation).toBe(9)
    expect(parseArp(announced.with(6, 1))?.operation).toBe(257)
    expect(parseArp(Uint8Array.of(...probed, ...new Uint8Array(18)))).toEqual(parseArp(probed))
  })

  it.each([
    ['nothing', new Uint8Array()],
    ['a cut one', probed.subarray(0, 27)],
    ['InfiniBand', probed.with(1, 32)],
    ['IPv6', hex('0001 86dd 06 10 0001').slice(0, 28)],
    ['another protocol', probed.with(2, 9)],
    ['longer hardware addresses', probed.with(4, 8)],
    ['longer protocol addresses', probed.with(5, 16)],
  ])('are not read from %s', (_, bytes) => {
    expect(parseArp(bytes)).toBeNull()
  })

  test('need addresses that are some', () => {
    expect(() => probe({ ...claim, mac: '02:00:5e:00:53' })).toThrow(RangeError)
    expect(() => probe({ ...claim, mac: '02:00:5e:00:53:01:00:00' })).toThrow(RangeError)
    expect(() => announcement({ ...claim, address: '::1' })).toThrow(RangeError)
  })
})

describe('a conflict', () => {
  const arp = (changes: Partial<Arp>): Arp => ({
    operation: 'request',
    senderMac: other,
    senderIp: '192.0.2.8',
    targetMac: none,
    targetIp: claim.address,
    ...changes,
  })

  it.each<[string, boolean, Partial<Arp>]>([
    ['an answer', true, { operation: 'reply', senderIp: claim.address, targetIp: '0.0.0.0' }],
    ['an announcement', true, { senderIp: claim.address }],
    ['who has it asking for another', true, { senderIp: claim.address, targetIp: '192.0.2.1' }],
    ['who has it with our own MAC', true, { senderIp: claim.address, senderMac: claim.mac }],
    ["another's probe", true, { senderIp: '0.0.0.0' }],
    ['our own probe', false, { senderIp: '0.0.0.0', senderMac: claim.mac.toUpperCase() }],
    ["another's probe for another", false, { senderIp: '0.0.0.0', targetIp: '192.0.2.9' }],
    ['a question by somebody else', false, {}],
    ['an answer about another', false, { operation: 'reply' }],
    ['an answer from nobody', false, { operation: 'reply', senderIp: '0.0.0.0' }],
    ['reverse ARP', false, { operation: 3, senderIp: claim.address }],
  ])('%s: %s', (_, expected, changes) => {
    expect(isConflict(arp(changes), claim)).toBe(expected)
  })
})

test('any bytes are a packet or none', () => {
  fc.assert(
    fc.property(damaged(fc.constantFrom(probed, announced)), (bytes) => {
      const arp = parseArp(within(bytes))
      expect(parseArp(within(bytes, 0xff))).toEqual(arp)
      if (arp) isConflict(arp, claim)
    }),
  )
})
