import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { number } from '../../../../../ipam/dhcp/v4/option-types.ts'
import { encode, type Message, messageTypes, parse } from '../../../../../ipam/dhcp/v6/message.ts'
import { container, optionTable } from '../../../../../ipam/dhcp/v6/option-table.ts'
import { optionCodes, statusCodes } from '../../../../../ipam/dhcp/v6/options.ts'
import { hex as bytes, damaged, toHex as hex, within } from '../wire.ts'
import { anyMessage } from './arbitrary.ts'

const clientId = bytes('0004 000102030405860788090a0b0c0d0e0f')
const serverId = bytes('0002 000009bf 0badcafe')

/** An option of a message whose header does not matter. */
const option = (code: number, value: string): Uint8Array => {
  const content = bytes(value)
  return Uint8Array.of(7, 0, 0, 0, 0, code, content.length >> 8, content.length & 0xff, ...content)
}
const optionsOf = (code: number, value: string) => parse(option(code, value))?.options

describe('a message of Kea 2.2', () => {
  const granted = {
    clientId,
    serverId,
    iaNa: [
      {
        iaid: 0x01020304,
        t1: 10,
        t2: 20,
        iaAddress: [{ address: '2001:db8:1::100', preferredLifetime: 30, validLifetime: 40 }],
      },
    ],
    dnsServers: ['2001:db8:1::53', '2001:db8:1::54'],
    domainSearch: ['example.org', 'lab.example'],
    solMaxRt: 600,
  }
  test.each<[string, string, Message]>([
    [
      'ADVERTISE',
      `02123456 00010012 0004000102030405860788090a0b0c0d0e0f 0002000a 0002000009bf0badcafe
       00030028 010203040000000a00000014 00050018 20010db80001000000000000000001000000001e00000028
       00170020 20010db800010000000000000000005320010db8000100000000000000000054
       0018001a 076578616d706c65036f726700036c6162076578616d706c6500 00520004 00000258`,
      { type: 'ADVERTISE', transactionId: 0x123456, options: granted },
    ],
    [
      'REPLY to a RENEW of an address that the server does not know',
      `07123459 00010012 0004000102030405860788090a0b0c0d0e0f 0002000a 0002000009bf0badcafe
       00030044 010203050000000a00000014 00050018 20010db80001000000000000000001010000001e00000028
       00050018 20010db80001000000000000000000990000000000000000
       00170020 20010db800010000000000000000005320010db8000100000000000000000054
       0018001a 076578616d706c65036f726700036c6162076578616d706c6500 00520004 00000258`,
      {
        type: 'REPLY',
        transactionId: 0x123459,
        options: {
          ...granted,
          iaNa: [
            {
              iaid: 0x01020305,
              t1: 10,
              t2: 20,
              iaAddress: [
                { address: '2001:db8:1::101', preferredLifetime: 30, validLifetime: 40 },
                { address: '2001:db8:1::99', preferredLifetime: 0, validLifetime: 0 },
              ],
            },
          ],
        },
      },
    ],
    [
      'REPLY to a CONFIRM of an address from elsewhere',
      `0712345a 00010012 0004000102030405860788090a0b0c0d0e0f 0002000a 0002000009bf0badcafe
       000d0029 00044164647265737320323030313a6462383a39393a3a3939206973206e6f74206f6e206c696e6b2e`,
      {
        type: 'REPLY',
        transactionId: 0x12345a,
        options: {
          clientId,
          serverId,
          statusCode: { code: 'NotOnLink', message: 'Address 2001:db8:99::99 is not on link.' },
        },
      },
    ],
    [
      'REPLY to a RELEASE',
      `0712345b 00010012 0004000102030405860788090a0b0c0d0e0f 0002000a 0002000009bf0badcafe
       0003003f 010203040000000000000000
         000d002f 00004c656173652072656c65617365642e205468616e6b20796f752c20706c6561736520636f6d6520616761696e2e
       000d0029 000053756d6d6172792073746174757320666f7220616c6c2070726f6365737365642049415f4e4173`,
      {
        type: 'REPLY',
        transactionId: 0x12345b,
        options: {
          clientId,
          serverId,
          iaNa: [
            {
              iaid: 0x01020304,
              t1: 0,
              t2: 0,
              statusCode: {
                code: 'Success',
                message: 'Lease released. Thank you, please come again.',
              },
            },
          ],
          statusCode: { code: 'Success', message: 'Summary status for all processed IA_NAs' },
        },
      },
    ],
  ])('%s', (_, captured, message) => {
    expect(parse(bytes(captured))).toEqual(message)
    expect(hex(encode(message))).toBe(hex(bytes(captured)))
  })
})

test('a SOLICIT that Kea answered', () => {
  expect(
    hex(
      encode({
        type: 'SOLICIT',
        transactionId: 0x123456,
        options: {
          clientId,
          elapsedTime: 0,
          rapidCommit: true,
          iaNa: [{ iaid: 0x01020304, t1: 0, t2: 0 }],
          optionRequest: [optionCodes.dnsServers, optionCodes.domainSearch, optionCodes.solMaxRt],
        },
      }),
    ),
  ).toBe(
    hex(
      bytes(`01123456 00010012 0004000102030405860788090a0b0c0d0e0f 00080002 0000 000e0000
        0003000c 010203040000000000000000 00060006 001700180052`),
    ),
  )
})

test('numbers are those of RFC 8415 sections 7.3, 21 and 21.13, and of RFC 3646', () => {
  expect(messageTypes).toEqual({
    SOLICIT: 1,
    ADVERTISE: 2,
    REQUEST: 3,
    CONFIRM: 4,
    RENEW: 5,
    REBIND: 6,
    REPLY: 7,
    RELEASE: 8,
    DECLINE: 9,
    RECONFIGURE: 10,
    'INFORMATION-REQUEST': 11,
  })
  expect(optionCodes).toEqual({
    clientId: 1,
    serverId: 2,
    iaNa: 3,
    optionRequest: 6,
    preference: 7,
    elapsedTime: 8,
    statusCode: 13,
    rapidCommit: 14,
    dnsServers: 23,
    domainSearch: 24,
    informationRefreshTime: 32,
    solMaxRt: 82,
    infMaxRt: 83,
  })
  expect(Object.values(statusCodes)).toEqual([0, 1, 2, 3, 4, 5, 6])
})

describe('what is no message', () => {
  test.each([
    ['nothing', ''],
    ['a header cut short', '070000'],
    ['type 0', '00000000'],
    ['a relay message', '0c000000'],
    ['a type that nobody has defined', 'ff000000'],
    ['an option header cut short', '07000000 000d00'],
    ['an option that reaches past the end', '07000000 000d0003 0000'],
    ['a last option whose length is a lie', '07000000 000e0000 0017ffff'],
  ])('%s', (_, text) => {
    expect(parse(bytes(text))).toBeNull()
  })
})

describe('an option that is malformed is kept as it came', () => {
  test.each([
    ['a DUID without an identifier', 1, '0004'],
    ['a DUID that is too long', 2, '00'.repeat(131)],
    ['an IA_NA cut short', 3, '0102030400000000000000'],
    ['an IA_NA with an option that reaches out of it', 3, '010203040000000000000000 00050018 00'],
    ['half an option code', 6, '001700'],
    ['a preference of two bytes', 7, '0000'],
    ['an elapsed time of one byte', 8, '00'],
    ['a status of one byte', 13, '00'],
    ['a rapid commit that says more', 14, '00'],
    ['no resolver', 23, ''],
    ['a resolver and a half', 23, '20010db800000000000000000000000120010db8'],
    ['no name', 24, ''],
    ['a name without an end', 24, '036f7267'],
    ['a compressed name', 24, '036f726700c000'],
    ['a SOL_MAX_RT of two bytes', 82, '0258'],
  ])('%s', (_, code, value) => {
    expect(optionsOf(code, value)).toEqual({ others: [{ code, value: bytes(value) }] })
  })

  test('within an IA_NA too', () => {
    const address = '20010db8000100000000000000000100 0000001e 00000028'
    const ia = optionsOf(3, `01020304 00000000 00000000 00050017 ${address.slice(0, -2)} 00050018 ${address}`)
      ?.iaNa?.[0]
    expect(ia?.iaAddress).toHaveLength(1)
    expect(ia?.others).toEqual([{ code: 5, value: bytes(address.slice(0, -2)) }])
  })

  test('what may be there once counts the first time', () => {
    const message = bytes('07000000 00070001 05 00070001 ff')
    expect(parse(message)?.options).toEqual({
      preference: 5,
      others: [{ code: 7, value: Uint8Array.of(0xff) }],
    })
  })
})

describe('values', () => {
  test('a status without a name is a number, and its text is fit for a log', () => {
    expect(optionsOf(13, '0063 410a1b5b316d42')?.statusCode).toEqual({ code: 99, message: 'A��[1mB' })
    expect(optionsOf(13, '0002')?.statusCode).toEqual({ code: 'NoAddrsAvail', message: '' })
  })

  test('an IPv4-mapped address stays one of IPv6', () => {
    const mapped = '00000000000000000000ffff0a000001'
    expect(optionsOf(23, mapped)?.dnsServers).toEqual(['::ffff:10.0.0.1'])
    expect(
      hex(encode({ type: 'REPLY', transactionId: 0, options: { dnsServers: ['::ffff:10.0.0.1'] } })),
    ).toBe(`0700000000170010${mapped}`)
  })

  test('nothing that was read is a view of the buffer it came in', () => {
    const buffer = option(1, '0004 aabb')
    const message = parse(buffer)
    buffer.fill(0)
    expect(message?.options.clientId).toEqual(bytes('0004aabb'))
  })

  test.each<[string, Partial<Message>]>([
    ['a transaction id of 25 bits', { transactionId: 0x100_0000 }],
    ['a transaction id below zero', { transactionId: -1 }],
    ['an IPv4 resolver', { options: { dnsServers: ['10.0.0.1'] } }],
    ['a DUID of two bytes', { options: { clientId: Uint8Array.of(0, 4) } }],
    ['a preference of 256', { options: { preference: 256 } }],
    ['a code of 17 bits', { options: { others: [{ code: 0x1_0000, value: new Uint8Array(0) }] } }],
    ['an option that is too long', { options: { others: [{ code: 9, value: new Uint8Array(0x1_0000) }] } }],
    ['an option that does not exist', { options: { hostName: 'a' } as never }],
  ])('%s can not be written', (_, part) => {
    expect(() => encode({ type: 'REPLY', transactionId: 0, options: {}, ...part })).toThrow(RangeError)
  })

  test('an option that is undefined is left out', () => {
    expect(hex(encode({ type: 'REPLY', transactionId: 1, options: { preference: undefined } }))).toBe(
      '07000001',
    )
  })
})

test('a container needs all of its fields', () => {
  const type = container({ a: [2, number(2)], b: [1, number(1)] }, optionTable({}))
  expect(type.read(bytes('000102'))).toEqual({ a: 1, b: 2 })
  expect(type.read(bytes('0001'))).toBeUndefined()
  expect(hex(type.write({ a: 1, b: 2 }))).toBe('000102')
})

describe('properties', () => {
  test('what is written is read', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(parse(encode(message))).toEqual(message)
      }),
    )
  })

  test('what a bad network makes of a message is read without an error, and no byte around it', () => {
    fc.assert(
      fc.property(damaged(anyMessage.map(encode)), (bytes) => {
        const message = parse(within(bytes))
        expect(parse(within(bytes, 0))).toEqual(message)
        // Whatever was read is written to bytes that read the same.
        if (message) expect(parse(encode(message))).toEqual(message)
      }),
    )
  })
})
