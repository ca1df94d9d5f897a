import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Reader } from '../../../netlink/codec/reader.ts'
import { Writer } from '../../../netlink/codec/writer.ts'
import { formatIp } from '../../../netlink/ip.ts'
import { elementListLayout } from '../../../netlink/nftables/attributes.ts'
import { concatId, typesOfId } from '../../../netlink/nftables/datatypes.ts'
import {
  addElements,
  addRule,
  addSet,
  type DataTypeName,
  dataTypes,
  dnat,
  listElements,
  listRules,
  log,
  masquerade,
  match,
  range,
  type SetElement,
  type TypedSet,
} from '../../../netlink/nftables/index.ts'
import { expressionsOf } from '../../../netlink/nftables/rules/context.ts'
import {
  commentUserdata,
  decodeUserdata,
  encodeUserdata,
  readComment,
  truncateComment,
} from '../../../netlink/nftables/userdata.ts'
import { messagesOf } from './bytes.ts'

const ref = { family: 'inet', table: 't', chain: 'c' } as const

describe('userdata', () => {
  test('is written and read back', () => {
    const entry = fc.record({ type: fc.nat(255), value: fc.uint8Array({ maxLength: 60 }) })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 4 }), (entries) => {
        expect(decodeUserdata(encodeUserdata(entries))).toEqual(entries)
      }),
    )
  })

  test('a comment is read back, whatever its characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (text) => {
        const comment = truncateComment(text.replaceAll('\0', ''))
        expect(readComment(commentUserdata(comment))).toBe(comment)
      }),
    )
  })

  test('bytes of others never fail, and are a comment only in its place', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 256 }), (bytes) => {
        expect(typeof readComment(bytes)).toMatch(/string|undefined/)
      }),
    )
    expect(readComment(new Uint8Array([1, 2, 65, 0]))).toBeUndefined()
    expect(readComment(new Uint8Array([0, 9, 65, 0]))).toBeUndefined()
    expect(() => decodeUserdata(new Uint8Array([0, 9, 65, 0]))).toThrow('reaches past the end')
  })

  test('what nft would refuse is refused', () => {
    expect(() => commentUserdata('x'.repeat(129))).toThrow(RangeError)
    expect(() => commentUserdata('a\0b')).toThrow(RangeError)
  })
})

/** Values of each type, in the text form that they are read back in. */
const values: { [N in DataTypeName]?: fc.Arbitrary<string> } = {
  ipv4_addr: fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatIp),
  ipv6_addr: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map(formatIp)
    .filter((text) => text.includes(':')),
  ether_addr: fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) =>
    Buffer.from(bytes)
      .toString('hex')
      .replace(/..(?!$)/g, '$&:'),
  ),
  inet_service: fc.nat(65535).map(String),
  inet_proto: fc.constantFrom('tcp', 'udp', 'sctp', 'icmp', 'icmpv6', '200'),
  mark: fc.nat(0xffffffff).map((mark) => `0x${mark.toString(16).padStart(8, '0')}`),
  ifname: fc.stringMatching(/^[a-z0-9._-]{1,15}$/),
  ct_state: fc.constantFrom('established', 'new', '0x00000003'),
}

test.each(Object.entries(values))('values of type %s are written and read back', (name, arbitrary) => {
  const type = dataTypes[name as DataTypeName]
  fc.assert(
    fc.property(arbitrary, (text) => {
      const bytes = type.encode(text)
      expect(bytes).toHaveLength(type.size)
      expect(type.decode(bytes)).toBe(text)
    }),
  )
})

test('the number of a concatenation tells its types', () => {
  const names = fc.array(fc.constantFrom(...(Object.keys(values) as DataTypeName[])), {
    minLength: 1,
    maxLength: 5,
  })
  fc.assert(
    fc.property(names, (list) => {
      const types = list.map((name) => dataTypes[name])
      expect(typesOfId(concatId(types))).toEqual(types)
    }),
  )
  expect(typesOfId(0)).toBeUndefined()
  expect(typesOfId(63)).toBeUndefined()
})

/** What a kernel that stored these elements would list. */
const stored = (set: TypedSet, elements: readonly SetElement[]) => {
  const messages = messagesOf(addElements(set, elements)).map(({ payload }) => ({
    type: 0,
    flags: 0,
    payload: new Reader(Buffer.from(payload, 'hex')),
  }))
  return listElements(set).read(messages)
}

describe('elements are written and read back', () => {
  const set = { family: 'inet', table: 't', set: 's' } as const

  test('single values, with all that belongs to them', () => {
    const element = fc.record({
      key: values.ipv4_addr!,
      comment: fc.option(fc.stringMatching(/^[a-z]{1,9}$/), { nil: undefined }),
    })
    fc.assert(
      fc.property(fc.array(element), (elements) => {
        const listed = stored({ ...set, key: 'ipv4_addr' }, elements)
        expect(listed.map(({ key, comment }) => ({ key: key[0], comment }))).toEqual(elements)
      }),
    )
  })

  test('maps of concatenations', () => {
    const element = fc.record({
      key: fc.tuple(values.inet_proto!, values.inet_service!),
      value: fc.tuple(values.ipv6_addr!, values.inet_service!),
    })
    const map = { ...set, key: ['inet_proto', 'inet_service'], value: ['ipv6_addr', 'inet_service'] } as const
    fc.assert(
      fc.property(fc.array(element), (elements) => {
        expect(stored(map, elements).map(({ key, value }) => ({ key, value }))).toEqual(elements)
      }),
    )
  })

  test('ranges that do not overlap, in any order', () => {
    const points = fc.uniqueArray(fc.nat(65535), { minLength: 2, maxLength: 40 })
    fc.assert(
      fc.property(points, fc.boolean(), (list, reversed) => {
        const sorted = [...list].sort((a, b) => a - b)
        const ranges = sorted.flatMap((from, i) =>
          i % 2 === 0 && i + 1 < sorted.length ? [{ from, to: sorted[i + 1]! }] : [],
        )
        const elements = ranges.map((key) => ({ key }))
        const listed = stored(
          { ...set, key: 'inet_service', interval: true },
          reversed ? elements.reverse() : elements,
        )
        expect(listed.map(({ key }) => key[0])).toEqual(ranges.map(({ from, to }) => `${from}-${to}`))
      }),
    )
  })

  test('bytes of a hostile kernel give an error or elements, nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        const message = { type: 0, flags: 0, payload: new Reader(new Uint8Array([1, 0, 0, 0, ...bytes])) }
        for (const read of [
          () => listElements({ ...set, key: ['ipv4_addr', 'inet_service'], interval: true }).read([message]),
          () => listElements({ ...set, key: 'ifname', value: 'verdict' }).read([message]),
          () =>
            listRules()
              .read([message])
              .map(({ comment, handle, table, expressions }) => [comment, handle, table, expressions]),
        ])
          try {
            expect(Array.isArray(read())).toBe(true)
          } catch (error) {
            expect((error as Error).name).toBe('MalformedError')
          }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('what makes no sense is refused before it reaches the kernel', () => {
  const set = { family: 'inet', table: 't', set: 's' } as const
  const rules: readonly (readonly [string, () => unknown])[] = [
    ['an address that is none', () => match.ipSaddr('10.0.0.256')],
    ['an address of the other family', () => match.ipSaddr('fe80::1')],
    ['a prefix that is none', () => match.ipSaddr('10.0.0.0/33')],
    ['an empty range', () => match.tcpDport(range(9, 8))],
    ['an empty set', () => match.tcpDport([])],
    ['a port that is none', () => match.tcpDport(65536)],
    ['a name that is too long', () => match.iifname('a'.repeat(16))],
    ['a name that is empty', () => match.iifname('')],
    ['a wildcard for everything', () => match.iifname('*')],
    ['a wildcard in a set', () => match.iifname(['a', 'b*'])],
    ['a MAC address that is none', () => match.etherSaddr('02:00:00:00:00')],
    ['a word that is none', () => match.icmpType('nonsense')],
    ['a name of Object.prototype', () => match.icmpType('constructor')],
    ['no connection state', () => match.ctState([])],
    ['a log to two places', () => log({ group: 1, level: 'info' })],
    ['ports without a protocol', () => masquerade({ ports: 80 })],
    ['a range of mixed families', () => dnat({ address: { from: '10.0.0.1', to: 'fe80::1' } })],
    ['dnat to nothing', () => dnat({})],
  ]
  test.each(rules)('rules: %s', (_name, make) => {
    expect(() => addRule({ ...ref, rule: [make() as ReturnType<typeof masquerade>] })).toThrow(RangeError)
  })

  test.each([
    ['IPv4 and IPv6 at once', [match.ipSaddr('10.0.0.1'), match.ip6Daddr('fe80::1')]],
    ['TCP and UDP at once', [match.tcpDport(1), match.udpDport(1)]],
  ])('rules: %s', (_name, rule) => {
    expect(() => expressionsOf('inet', rule)).toThrow('at once')
  })
  test('rules: IPv6 in a table for IPv4', () => {
    expect(() => expressionsOf('ip', [match.ip6Saddr('fe80::1')])).toThrow(RangeError)
  })

  test.each([
    [
      'a range in a set of values',
      () => addElements({ ...set, key: 'inet_service' }, [{ key: { from: 1, to: 2 } }]),
    ],
    ['a prefix in a set of values', () => addElements({ ...set, key: 'ipv4_addr' }, [{ key: '10.0.0.0/8' }])],
    [
      'a key with too few parts',
      () => addElements({ ...set, key: ['ipv4_addr', 'inet_service'] }, [{ key: '10.0.0.1' }]),
    ],
    ['a value in a set', () => addElements({ ...set, key: 'inet_service' }, [{ key: 1, value: 2 }])],
    ['no value in a map', () => addElements({ ...set, key: 'inet_service', value: 'mark' }, [{ key: 1 }])],
    ['ranges of a type in host order', () => addSet({ ...set, key: 'mark', interval: true })],
    ['a type that is none', () => addSet({ ...set, key: 'toString' as DataTypeName })],
    ['six types', () => addSet({ ...set, key: Array.from({ length: 6 }, () => 'mark' as const) })],
  ])('sets: %s', (_name, make) => {
    expect(make).toThrow(RangeError)
  })
})

test('elements without a key, as catch-all ones are, are left out', () => {
  const writer = new Writer()
  writer.u32(0)
  elementListLayout.attributes.write(writer, {
    table: 't',
    set: 's',
    elements: [{ flags: 2 }, { key: { value: new Uint8Array([0, 80]) } }],
  })
  const message = { type: 0, flags: 0, payload: new Reader(writer.finish()) }
  const listed = listElements({ family: 'inet', table: 't', set: 's', key: 'inet_service' }).read([message])
  expect(listed).toMatchObject([{ key: ['80'] }])
})
