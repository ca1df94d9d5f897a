import { describe, expect, test } from 'vitest'
import { duplicateProbe, encodeIcmp6, isDuplicate, parseIcmp6 } from '../../../../ipam/dhcp/icmp6.ts'
import { parseIp } from '../../../../netlink/ip.ts'

const address = '2001:db8::7'
const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6)
const other = nonce.with(5, 7)

/** A neighbour solicitation (135) or advertisement (136), as it comes from the link. */
const neighbour = (type: number, source: string, { target = address, options = [] as number[] } = {}) => {
  const message = Uint8Array.of(...new Uint8Array(24), ...options)
  message[0] = type
  message.set(parseIp(target)!, 8)
  return parseIcmp6(encodeIcmp6({ source, destination: 'ff02::1', message }))!
}

const probe = (options: number[] = []) => neighbour(135, '::', { options })
/** Its own MAC, where a solicitation has a sender. */
const sourceLinkAddress = [1, 1, 2, 0, 0x5e, 0, 0x53, 1]

describe('whether an address is taken', () => {
  test.each([
    // Whatever its MAC: all ipvlan interfaces of a master have one.
    ['somebody advertises it', neighbour(136, 'fe80::1'), true],
    ['somebody probes for it at the same time', probe(), true],
    ['somebody probes for it with a nonce', probe([14, 1, ...other]), true],
    ['the own probe, given back by the link', probe([14, 1, ...nonce]), false],
    ['the own nonce behind another option', probe([...sourceLinkAddress, 14, 1, ...nonce]), false],
    ['an option without a length', probe([14, 0, ...nonce]), true],
    ['an option that is longer than the message', probe([14, 2, ...nonce]), true],
    ['somebody who has an address asks for it', neighbour(135, 'fe80::1'), false],
    ['another address', neighbour(136, 'fe80::1', { target: '2001:db8::8' }), false],
    ['a router says something', neighbour(134, 'fe80::1'), false],
  ])('%s', (_, packet, expected) => {
    expect(isDuplicate(packet, address, nonce)).toBe(expected)
  })

  test('a message that is cut off', () => {
    const { message, ...rest } = neighbour(136, 'fe80::1')
    expect(isDuplicate({ ...rest, message: message.subarray(0, 23) }, address, nonce)).toBe(false)
  })
})

test('the question is one that others take for a probe, and its sender does not', () => {
  const { packet, mac } = duplicateProbe(address, nonce)
  const read = parseIcmp6(packet)!
  expect(read).toMatchObject({ source: '::', destination: 'ff02::1:ff00:7' })
  expect([...mac]).toEqual([0x33, 0x33, 0xff, 0, 0, 7])
  expect(isDuplicate(read, address, other)).toBe(true)
  expect(isDuplicate(read, address, nonce)).toBe(false)
})
