import fc from 'fast-check'
import { IPv4, IPv4CidrRange, IPv4Prefix, IPv6, IPv6CidrRange, IPv6Prefix, RangedSet } from 'ip-num'
import { describe, expect, test } from 'vitest'
import { formatAddress, parseAddress, parseRequested, toAddress } from '../../../ipam/address.ts'
import { describePool } from '../../../ipam/ip-num.ts'
import {
  canonicalRange,
  canonicalSets,
  isAssignable,
  type Range,
  type RangeConf,
  roundRobin,
  setContains,
  showSet,
} from '../../../ipam/ranges.ts'
import { canonicalCidr, formatIp, parseIp } from '../../../netlink/ip.ts'

const show = ({ family, start, end, gateway }: Range) => [
  formatAddress(family, start),
  formatAddress(family, end),
  formatAddress(gateway.family, gateway.value),
]

describe('a range', () => {
  test.each<[RangeConf, [string, string, string]]>([
    [{ subnet: '10.1.0.0/16' }, ['10.1.0.1', '10.1.255.254', '10.1.0.1']],
    [{ subnet: '10.1.0.0/30' }, ['10.1.0.1', '10.1.0.2', '10.1.0.1']],
    [{ subnet: '2001:db8:1::/64' }, ['2001:db8:1::1', '2001:db8:1:0:ffff:ffff:ffff:ffff', '2001:db8:1::1']],
    [{ subnet: '2001:DB8::/126' }, ['2001:db8::1', '2001:db8::3', '2001:db8::1']],
    [{ subnet: '0.0.0.0/0' }, ['0.0.0.1', '255.255.255.254', '0.0.0.1']],
    // The network address and the broadcast address are assigned to those who ask for them.
    [
      { subnet: '10.1.0.0/24', rangeStart: '10.1.0.0', rangeEnd: '10.1.0.255', gateway: '10.1.0.7' },
      ['10.1.0.0', '10.1.0.255', '10.1.0.7'],
    ],
    [{ subnet: '10.1.0.0/24', rangeEnd: '10.1.0.9' }, ['10.1.0.1', '10.1.0.9', '10.1.0.1']],
    // A gateway may lie elsewhere, even in the other family.
    [{ subnet: '10.1.0.0/24', gateway: '192.0.2.1' }, ['10.1.0.1', '10.1.0.254', '192.0.2.1']],
    [{ subnet: '10.1.0.0/24', gateway: 'fe80::1' }, ['10.1.0.1', '10.1.0.254', 'fe80::1']],
    [{ subnet: '10.1.0.0/24', rangeStart: '::ffff:10.1.0.5' }, ['10.1.0.5', '10.1.0.254', '10.1.0.1']],
  ])('%j', (conf, expected) => {
    expect(show(canonicalRange(conf))).toEqual(expected)
  })

  test.each<[RangeConf, string]>([
    [{}, 'IP <nil> not v4 nor v6'],
    [{ subnet: '10.1.0.0/31' }, 'Network 10.1.0.0/31 too small to allocate from'],
    [{ subnet: '10.1.0.4/32' }, 'Network 10.1.0.4/32 too small to allocate from'],
    [{ subnet: '2001:db8::/127' }, 'Network 2001:db8::/127 too small to allocate from'],
    [{ subnet: '::ffff:10.1.0.0/112' }, 'IPNet IP and Mask version mismatch'],
    [
      { subnet: '10.1.2.3/16' },
      'Network has host bits set. For a subnet mask of length 16 the network address is 10.1.0.0',
    ],
    [
      { subnet: '2001:db8::1/64' },
      'Network has host bits set. For a subnet mask of length 64 the network address is 2001:db8::',
    ],
    [{ subnet: '10.1.0.0/24', rangeStart: '10.1.1.0' }, 'RangeStart 10.1.1.0 not in network 10.1.0.0/24'],
    [
      { subnet: '10.1.0.0/24', rangeStart: '2001:DB8::1' },
      'RangeStart 2001:db8::1 not in network 10.1.0.0/24',
    ],
    [{ subnet: '10.1.0.0/24', rangeEnd: '10.0.255.255' }, 'RangeEnd 10.0.255.255 not in network 10.1.0.0/24'],
    [
      { subnet: '10.1.0.0/24', rangeStart: '10.1.0.9', rangeEnd: '10.1.0.8' },
      'RangeStart 10.1.0.9 not in network 10.1.0.0/24',
    ],
    // The Go plugin takes this, and then counts through all that is above.
    [{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.255' }, 'RangeEnd 10.1.0.254 not in network 10.1.0.0/24'],
  ])('%j is refused: %s', (conf, message) => {
    expect(() => canonicalRange(conf)).toThrow(message)
  })
})

describe('range sets', () => {
  const subnet = '10.1.0.0/24'
  test.each<[RangeConf[][], string, string]>([
    [[], '1.0.0', 'no IP ranges specified'],
    [[[]], '1.0.0', 'invalid range set 0: empty range set'],
    [[[{ subnet }], [{ subnet: '10.2.0.1/24' }]], '1.0.0', 'invalid range set 1: Network has host bits set.'],
    [[[{ subnet }, { subnet: '2001:db8::/64' }]], '1.0.0', 'invalid range set 0: mixed address families'],
    [
      [[{ subnet }, { subnet: '10.1.0.128/25' }]],
      '1.0.0',
      'invalid range set 0: subnets 10.1.0.1-10.1.0.254 and 10.1.0.129-10.1.0.254 overlap',
    ],
    [
      // With one end in common only, which ip-num's isOverlapping does not see.
      [
        [
          { subnet, rangeStart: '10.1.0.1', rangeEnd: '10.1.0.5' },
          { subnet, rangeStart: '10.1.0.5', rangeEnd: '10.1.0.9' },
        ],
      ],
      '1.0.0',
      'invalid range set 0: subnets 10.1.0.1-10.1.0.5 and 10.1.0.5-10.1.0.9 overlap',
    ],
    [
      [[{ subnet: '10.2.0.0/24' }], [{ subnet: '10.3.0.0/24' }], [{ subnet: '10.3.0.0/16' }]],
      '1.0.0',
      'range set 1 overlaps with 2',
    ],
    [
      [[{ subnet }], [{ subnet: '10.2.0.0/24' }]],
      '0.2.0',
      'CNI version 0.2.0 does not support more than 1 address per family',
    ],
  ])('%j under %s: %s', (confs, version, message) => {
    expect(() => canonicalSets(confs, version)).toThrow(message)
  })

  test('one address of each family fits into the oldest results', () => {
    expect(canonicalSets([[{ subnet }], [{ subnet: '2001:db8::/64' }]], '0.1.0')).toHaveLength(2)
  })

  test('print as the reference prints them', () => {
    const [set] = canonicalSets([[{ subnet: '10.1.0.0/29' }, { subnet: '10.2.0.0/30' }]], '1.0.0')
    expect(showSet(set!)).toBe('10.1.0.1-10.1.0.6,10.2.0.1-10.2.0.2')
  })

  test('overlap exactly where some address is in both', () => {
    const range = fc
      .tuple(fc.integer({ min: 0, max: 31 }), fc.integer({ min: 0, max: 31 }))
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
    fc.assert(
      fc.property(range, range, (a, b) => {
        const conf = ([from, to]: readonly [number, number]) => [
          { subnet: '10.1.0.0/27', rangeStart: `10.1.0.${from}`, rangeEnd: `10.1.0.${to}` },
        ]
        const common = Array.from({ length: 32 }, (_, i) => i).some(
          (i) => i >= a[0] && i <= a[1] && i >= b[0] && i <= b[1],
        )
        const sets = () => canonicalSets([conf(a), conf(b)], '1.0.0')
        if (common) expect(sets).toThrow('range set 0 overlaps with 1')
        else expect(sets()).toHaveLength(2)
      }),
    )
  })
})

const ipv4 = fc.integer({ min: 0, max: 0xffff_ffff }).map((n) => formatAddress(4, BigInt(n)))
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatIp)

describe('arithmetic agrees with ip-num', () => {
  test('on numbers of IPv4 addresses', () => {
    fc.assert(
      fc.property(ipv4, (text) => {
        expect(parseAddress(text)).toEqual({ family: 4, value: IPv4.fromString(text).getValue() })
      }),
    )
  })

  test('on numbers of IPv6 addresses', () => {
    fc.assert(
      fc.property(ipv6, (text) => {
        expect(parseAddress(text)).toEqual({ family: 6, value: IPv6.fromString(text).getValue() })
      }),
    )
  })

  test('on the ends of IPv4 subnets', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), fc.integer({ min: 1, max: 30 }), (n, prefix) => {
        const theirs = new IPv4CidrRange(IPv4.fromNumber(BigInt(n)), IPv4Prefix.fromNumber(BigInt(prefix)))
        const network = theirs.getFirst().getValue()
        const ours = canonicalRange({ subnet: `${formatAddress(4, network)}/${prefix}` })
        expect(ours.start).toBe(network + 1n)
        expect(ours.end).toBe(theirs.getLast().getValue() - 1n)
        const pool = describePool([ours])
        expect(pool.size).toBe(theirs.getSize() - 3n)
      }),
    )
  })

  test('on the ends of IPv6 subnets', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 128n - 1n), fc.integer({ min: 1, max: 126 }), (n, prefix) => {
        const theirs = new IPv6CidrRange(IPv6.fromBigInt(n), IPv6Prefix.fromNumber(BigInt(prefix)))
        const network = theirs.getFirst().getValue()
        const text = formatAddress(6, network)
        fc.pre(text.includes(':'))
        const ours = canonicalRange({ subnet: `${text}/${prefix}` })
        expect(ours.start).toBe(network + 1n)
        expect(ours.end).toBe(theirs.getLast().getValue())
        expect(describePool([ours]).size).toBe(theirs.getSize() - 2n)
      }),
    )
  })

  test('on what lies inside', () => {
    const n = fc.bigInt(0n, 255n)
    fc.assert(
      fc.property(n, n, n, (a, b, c) => {
        const [from, to] = a < b ? [a, b] : [b, a]
        const base = IPv4.fromString('10.1.0.0').getValue()
        const at = (offset: bigint) => IPv4.fromNumber(base + offset)
        const theirs = new RangedSet(at(from), at(to)).contains(RangedSet.fromSingleIP(at(c)))
        const text = (offset: bigint) => formatAddress(4, base + offset)
        const ours = canonicalRange({ subnet: '10.1.0.0/24', rangeStart: text(from), rangeEnd: text(to) })
        expect(setContains([ours], { family: 4, value: base + c })).toBe(theirs)
      }),
    )
  })
})

test('a pool in words', () => {
  const [set] = canonicalSets(
    [[{ subnet: '10.1.0.0/24' }, { subnet: '10.2.0.0/24', gateway: '10.1.0.1' }]],
    '1.0.0',
  )
  expect(describePool(set!).text).toBe(
    '507 addresses: 10.1.0.1-10.1.0.254 of 10.1.0.0/24 without the gateway 10.1.0.1, 10.2.0.1-10.2.0.254 of 10.2.0.0/24',
  )
  const [six] = canonicalSets([[{ subnet: '2001:db8::/126' }]], '1.0.0')
  expect(describePool(six!).text).toBe(
    '2 addresses: 2001:db8::1-2001:db8::3 of 2001:db8::/126 without the gateway 2001:db8::1',
  )
})

/** The reference's way: count up from the last one, jump at the ends of ranges, stop at the first one tried. */
const naive = (set: readonly Range[], last: bigint | null): bigint[] => {
  const tried: bigint[] = []
  let at = last === null ? -1 : set.findIndex((range) => last >= range.start && last <= range.end)
  let current = at < 0 ? null : last
  let first: bigint | null = null
  if (at < 0) at = 0
  for (;;) {
    if (current === null) current = set[0]!.start
    else if (current === set[at]!.end) {
      at = (at + 1) % set.length
      current = set[at]!.start
    } else current += 1n
    if (first === null) first = current
    else if (current === first) return tried
    if (isAssignable(set[at]!, current)) tried.push(current)
  }
}

test('addresses are tried in the order of the reference, each once', () => {
  const ranges = fc
    .uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 1, maxLength: 4 })
    .chain((blocks) =>
      fc.tuple(
        ...blocks.map((block) =>
          fc.record({
            block: fc.constant(block),
            a: fc.integer({ min: 0, max: 15 }),
            b: fc.integer({ min: 0, max: 15 }),
            gateway: fc.integer({ min: 0, max: 15 }),
          }),
        ),
      ),
    )
  fc.assert(
    fc.property(ranges, fc.option(fc.integer({ min: 0, max: 127 })), (parts, last) => {
      const set = parts.map(({ block, a, b, gateway }) => {
        const text = (offset: number) => `10.0.0.${block * 16 + offset}`
        return canonicalRange({
          subnet: `${text(0)}/28`,
          rangeStart: text(Math.min(a, b)),
          rangeEnd: text(Math.max(a, b)),
          gateway: text(gateway),
        })
      })
      const base = parseAddress('10.0.0.0')!.value
      const from = last === null ? null : base + BigInt(last)
      const ours: bigint[] = []
      for (const { range, from: low, to } of roundRobin(
        set,
        from === null ? null : { family: 4, value: from },
      ))
        for (let value = low; value <= to; value++) if (isAssignable(range, value)) ours.push(value)
      expect(ours).toEqual(naive(set, from))
    }),
  )
})

describe('text', () => {
  test('of numbers is what Go prints', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), (text) => {
        const address = parseAddress(text)!
        expect(formatAddress(address.family, address.value)).toBe(text)
        expect(toAddress(parseIp(text)!)).toEqual(address)
      }),
    )
  })

  test.each([
    ['10.1.2.3/16', '10.1.2.3/16'],
    ['2001:DB8::0:1/64', '2001:db8::1/64'],
    ['::ffff:10.1.2.3/120', '10.1.2.3/24'],
    ['10.1.2.3', null],
  ])('prefix %s → %s', (text, expected) => {
    expect(canonicalCidr(text)).toBe(expected)
  })

  test('of what is requested may have a prefix', () => {
    expect(parseRequested('10.1.2.3/16')).toEqual(parseAddress('10.1.2.3'))
    expect(parseRequested('::ffff:10.1.2.3/120')).toEqual(parseAddress('10.1.2.3'))
    expect(parseRequested('10.1.2.3/33')).toBeNull()
    expect(parseRequested('')).toBeNull()
  })
})
