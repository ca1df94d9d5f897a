import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { duidUuid, iaidOf } from '../../../../ipam/dhcp/duid.ts'
import { duidClientId, goClientId, macClientId, parseClientId } from '../../../../ipam/dhcp/v4/client-id.ts'
import { ascii, hex } from './wire.ts'

describe('the Go plugin’s identifier', () => {
  test('is the attachment’s name as text', () => {
    expect(goClientId('abc', 'blue', 'eth0')).toEqual(Uint8Array.of(0, ...ascii('abc/blue/eth0')))
  })

  test('is cut to 254 bytes after the type', () => {
    const containerId = 'c'.repeat(249)
    expect(goClientId(containerId, 'n', 'eth')).toEqual(Uint8Array.of(0, ...ascii(`${containerId}/n/et`)))
    expect(goClientId(containerId, 'n', 'et')).toHaveLength(255)
    expect(goClientId(containerId, 'n', 'e')).toHaveLength(254)
  })
})

describe('identifiers by RFC', () => {
  test('of a hardware address', () => {
    expect(macClientId(1, hex('02005e005301'))).toEqual(hex('0102005e005301'))
  })

  test('of IAID and DUID', () => {
    expect(duidClientId(0x80000001, hex('000300010200 5e005301'))).toEqual(
      hex('ff800000010003000102005e005301'),
    )
  })
})

describe('a configured identifier', () => {
  it.each([
    ['hex:01:02', '0102'],
    ['hex:0102', '0102'],
    ['hex:FF:00:0a', 'ff000a'],
    [`hex:${'ab'.repeat(255)}`, 'ab'.repeat(255)],
    ['blue', '00626c7565'],
    ['MAC', '004d4143'],
    ['\u00e9', '00c3a9'],
    ['x'.repeat(254), `00${'78'.repeat(254)}`],
  ])('%s is bytes', (text, bytes) => {
    expect(parseClientId(text)).toEqual({ form: 'bytes', bytes: hex(bytes) })
  })

  it.each(['mac', 'duid'] as const)('%s is made from what there is', (text) => {
    expect(parseClientId(text)).toEqual({ form: text })
  })

  it.each([
    '',
    'hex:',
    'hex:01',
    'hex:1:2',
    'hex:010',
    'hex:01:02:',
    'hex:01:0203',
    'hex:01 02',
    'hex:0g0h',
    `hex:${'ab'.repeat(256)}`,
    'x'.repeat(255),
  ])('%j is none', (text) => {
    expect(parseClientId(text)).toBeNull()
  })

  test('of any text fits an option, or is none', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: 'grapheme', maxLength: 300, size: 'max' }))
    fc.assert(
      fc.property(text, fc.boolean(), (any, prefix) => {
        const id = parseClientId(prefix ? `hex:${any}` : any)
        if (id?.form !== 'bytes') return
        expect(id.bytes.length).toBeGreaterThanOrEqual(2)
        expect(id.bytes.length).toBeLessThanOrEqual(255)
      }),
    )
  })
})

describe('what DHCPv6 shares', () => {
  test('a DUID-UUID has a UUID of version 8 from the container’s id', () => {
    const duid = duidUuid('abc')
    // sha256("abc") begins with ba7816bf 8f01cfea 414140de 5dae2223.
    expect(duid).toEqual(hex('0004 ba7816bf 8f01 8fea 8141 40de5dae2223'))
    expect(duidUuid('abd')).not.toEqual(duid)
  })

  test('an IAID differs by network and interface', () => {
    const expected = createHash('sha256').update('blue\0eth0').digest().readUInt32BE(0)
    expect(iaidOf('blue', 'eth0')).toBe(expected)
    const all = [
      iaidOf('blue', 'eth0'),
      iaidOf('blue', 'eth1'),
      iaidOf('red', 'eth0'),
      iaidOf('bluee', 'th0'),
    ]
    expect(new Set(all).size).toBe(4)
    fc.assert(
      fc.property(fc.string(), fc.string(), (network, ifName) => {
        const iaid = iaidOf(network, ifName)
        expect(iaid >>> 0).toBe(iaid)
      }),
    )
  })
})
