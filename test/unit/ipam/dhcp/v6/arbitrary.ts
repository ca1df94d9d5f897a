/** Messages as they may come from a network, for property tests. */
import fc from 'fast-check'
import { type Message, type MessageType, messageTypes } from '../../../../../ipam/dhcp/v6/message.ts'
import { ipv6Text, type StatusCode, statusCodes } from '../../../../../ipam/dhcp/v6/options.ts'

const u8 = fc.nat({ max: 0xff })
const u16 = fc.nat({ max: 0xffff })
const u32 = fc.nat({ max: 0xffff_ffff })

/** Any 16 bytes, the odd ones among them more often than chance would have it. */
export const anyAddress = fc
  .oneof(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc
      .uint8Array({ minLength: 4, maxLength: 4 })
      .map((v4) => Uint8Array.of(...new Array(10).fill(0), 0xff, 0xff, ...v4)),
    fc.constant(new Uint8Array(16)),
  )
  .map(ipv6Text)

const label = fc.stringMatching(/^[a-z0-9_][a-z0-9_-]{0,20}$/)
export const anyName = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
const duid = fc.uint8Array({ minLength: 3, maxLength: 130 })

const statusCode = fc.record({
  code: fc.oneof(
    fc.constantFrom(...(Object.keys(statusCodes) as (keyof typeof statusCodes)[])),
    fc.integer({ min: 7, max: 0xffff }),
  ) as fc.Arbitrary<StatusCode>,
  message: fc.string({ maxLength: 30, unit: 'grapheme-ascii' }),
})

const optional = <T extends Record<string, fc.Arbitrary<unknown>>>(fields: T) =>
  fc.record(fields, { requiredKeys: [] })

const ia = fc
  .tuple(
    fc.record({ iaid: u32, t1: u32, t2: u32 }),
    optional({
      iaAddress: fc.array(
        fc
          .tuple(
            fc.record({ address: anyAddress, preferredLifetime: u32, validLifetime: u32 }),
            optional({ statusCode }),
          )
          .map(([fields, options]) => ({ ...fields, ...options })),
        { minLength: 1, maxLength: 3 },
      ),
      statusCode,
    }),
  )
  .map(([fields, options]) => ({ ...fields, ...options }))

export const anyMessage: fc.Arbitrary<Message> = fc.record({
  type: fc.constantFrom(...(Object.keys(messageTypes) as MessageType[])),
  transactionId: fc.nat({ max: 0xff_ffff }),
  options: optional({
    clientId: duid,
    serverId: duid,
    iaNa: fc.array(ia, { minLength: 1, maxLength: 2 }),
    optionRequest: fc.array(u16, { maxLength: 5 }),
    preference: u8,
    elapsedTime: u16,
    statusCode,
    rapidCommit: fc.constant(true as const),
    dnsServers: fc.array(anyAddress, { minLength: 1, maxLength: 3 }),
    domainSearch: fc.array(anyName, { minLength: 1, maxLength: 3 }),
    informationRefreshTime: u32,
    solMaxRt: u32,
    infMaxRt: u32,
    others: fc.array(
      fc.record({ code: fc.integer({ min: 84, max: 0xffff }), value: fc.uint8Array({ maxLength: 20 }) }),
      { minLength: 1, maxLength: 3 },
    ),
  }) as fc.Arbitrary<Message['options']>,
})
