import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { printJson } from '../../../cni/json.ts'
import { parseOwnResult, parseResult, toVersion } from '../../../cni/result.ts'
import { allVersions, type JsonObject, type Result } from '../../../cni/types.ts'

const full: Result = {
  interfaces: [
    { name: 'br0', mac: '02:00:00:00:00:01', mtu: 1500 },
    { name: 'eth0', mac: '', sandbox: '/run/netns/a', socketPath: '/s', pciID: '0000:00:01.0' },
  ],
  ips: [
    { address: '10.1.2.3/16', gateway: '10.1.0.1', interface: 1 },
    { address: '2001:DB8:0::5/64', gateway: '', interface: 0 },
    { address: '10.9.0.1/24' },
  ],
  routes: [
    { dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400, advmss: 1360, priority: 5, table: 0, scope: 0 },
    { dst: '2001:DB8::/32', mtu: 0 },
  ],
  dns: { nameservers: ['1.1.1.1'], domain: '', search: [], options: ['<a&b>'] },
}

const old = `{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "10.1.2.3/16",
        "gateway": "10.1.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.1.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "2001:db8::5/64",
        "routes": [
            {
                "dst": "2001:db8::/32"
            }
        ]
    },
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "options": [
            "\\u003ca\\u0026b\\u003e"
        ]
    }
}`

const middle = `{
    "cniVersion": "0.4.0",
    "interfaces": [
        {
            "name": "br0",
            "mac": "02:00:00:00:00:01"
        },
        {
            "name": "eth0",
            "sandbox": "/run/netns/a"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 1,
            "address": "10.1.2.3/16",
            "gateway": "10.1.0.1"
        },
        {
            "version": "6",
            "interface": 0,
            "address": "2001:db8::5/64"
        },
        {
            "version": "4",
            "address": "10.9.0.1/24"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "advmss": 1360,
            "priority": 5,
            "table": 0,
            "scope": 0
        },
        {
            "dst": "2001:db8::/32"
        }
    ],
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "options": [
            "\\u003ca\\u0026b\\u003e"
        ]
    }
}`

const newest = `{
    "cniVersion": "1.1.0",
    "dns": {
        "nameservers": [
            "1.1.1.1"
        ],
        "options": [
            "\\u003ca\\u0026b\\u003e"
        ]
    },
    "interfaces": [
        {
            "mac": "02:00:00:00:00:01",
            "mtu": 1500,
            "name": "br0"
        },
        {
            "name": "eth0",
            "pciID": "0000:00:01.0",
            "sandbox": "/run/netns/a",
            "socketPath": "/s"
        }
    ],
    "ips": [
        {
            "address": "10.1.2.3/16",
            "gateway": "10.1.0.1",
            "interface": 1
        },
        {
            "address": "2001:db8::5/64",
            "interface": 0
        },
        {
            "address": "10.9.0.1/24"
        }
    ],
    "routes": [
        {
            "advmss": 1360,
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "mtu": 1400,
            "priority": 5,
            "scope": 0,
            "table": 0
        },
        {
            "dst": "2001:db8::/32"
        }
    ]
}`

describe('printing', () => {
  it.each([
    ['0.2.0', old],
    ['0.4.0', middle],
    ['1.1.0', newest],
  ])('%s byte for byte', (version, text) => {
    expect(printJson(toVersion(full, version))).toBe(text)
  })

  it.each([
    ['0.1.0', old, '0.2.0'],
    ['0.3.0', middle, '0.4.0'],
    ['0.3.1', middle, '0.4.0'],
    ['1.0.0', newest, '1.1.0'],
  ])('%s is like its neighbours', (version, text, as) => {
    expect(printJson(toVersion(full, version))).toBe(text.replace(as, version))
  })

  it.each([
    ['0.3.1', '{"cniVersion":"0.3.1","dns":{}}'],
    ['0.4.0', '{"cniVersion":"0.4.0","dns":{}}'],
    ['1.0.0', '{"cniVersion":"1.0.0"}'],
    ['1.1.0', '{"cniVersion":"1.1.0"}'],
  ])('an empty result of %s', (version, text) => {
    expect(printJson(toVersion({ interfaces: [], ips: [], routes: [], dns: {} }, version), 0)).toBe(text)
  })

  it.each(['0.1.0', '0.2.0', ''])('nothing without an address before 0.3.0: %j', (version) => {
    expect(() => toVersion({ interfaces: [{ name: 'eth0' }] }, version)).toThrow(
      expect.objectContaining({ code: 999, msg: 'cannot convert: no valid IP addresses' }),
    )
  })

  it('keeps only the first address of a family before 0.3.0, and routes only where that has one', () => {
    const result = {
      ips: [{ address: '10.0.0.1/8' }, { address: '10.0.0.2/8' }],
      routes: [{ dst: '10.0.0.0/8' }, { dst: '::/0' }],
    }
    expect(printJson(toVersion(result, '0.1.0'), 0)).toBe(
      '{"cniVersion":"0.1.0","ip4":{"ip":"10.0.0.1/8","routes":[{"dst":"10.0.0.0/8"}]},"dns":{}}',
    )
  })

  it.each([
    ['::ffff:10.0.0.1/120', '10.0.0.1/24', '4'],
    ['::ffff:10.0.0.1/90', '10.0.0.1/0', '4'],
    ['2001:0DB8:0:0:1:0:0:1/064', '2001:db8::1:0:0:1/64', '6'],
  ])('%s as Go prints it', (address, printed, version) => {
    expect(toVersion({ ips: [{ address }] }, '0.4.0').ips).toMatchObject([{ address: printed, version }])
  })

  it('refuses what is no address', () => {
    expect(() => toVersion({ ips: [{ address: '10.0.0.1' }] })).toThrow(RangeError)
    expect(() => toVersion({ ips: [{ address: '10.0.0.1/8', gateway: 'x' }] })).toThrow(RangeError)
    expect(() => toVersion({ routes: [{ dst: 'default' }] })).toThrow(RangeError)
  })

  it('knows no other versions', () => {
    expect(() => toVersion(full, '2.0.0')).toThrow('no converter for CNI result version "2.0.0"')
  })
})

const errorOf = (json: unknown, version: string, prefix?: string): CniError => {
  try {
    parseResult(json, version, prefix)
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('parsing', () => {
  const v4 = { ip: '10.1.2.3/16', gateway: '10.1.0.1', routes: [{ dst: '0.0.0.0/0' }] }
  const v6 = { ip: '2001:db8::5/64', routes: [{ dst: '::/0', gw: '2001:db8::1' }] }

  it('makes one list of the two of 0.2.0', () => {
    expect(parseResult({ ip4: v4, ip6: v6, dns: { domain: 'x' } }, '0.2.0')).toEqual({
      ips: [
        { address: '10.1.2.3/16', gateway: '10.1.0.1' },
        { address: '2001:db8::5/64', gateway: undefined },
      ],
      routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0', gw: '2001:db8::1' }],
      dns: { domain: 'x' },
    })
  })

  it('takes keys of any case and nulls, as Go does', () => {
    expect(parseResult({ IPS: [{ Address: '10.0.0.1/8', GATEWAY: null }], routes: null }, '1.0.0')).toEqual({
      ips: [{ address: '10.0.0.1/8' }],
    })
  })

  it.each([
    ['1.1.0', '0.2.0', '[1.0.0 1.1.0]'],
    ['1.0.0', '5678.456', '[1.0.0 1.1.0]'],
    ['0.4.0', '1.0.0', '[0.3.0 0.3.1 0.4.0]'],
    ['0.1.0', '0.4.0', '[ 0.1.0 0.2.0]'],
  ])('a %s prevResult that says %s', (version, own, supported) => {
    expect(errorOf({ cniVersion: own }, version, 'could not parse prevResult: ')).toMatchObject({
      code: 7,
      msg: `could not parse prevResult: result type supports ${supported} but unmarshalled CNIVersion is "${own}"`,
    })
  })

  it.each([
    ['1.0.0', '1.1.0'],
    ['0.3.0', '0.4.0'],
    ['0.1.0', '0.2.0'],
    ['1.0.0', ''],
  ])('a %s prevResult may say %j', (version, own) => {
    expect(parseResult({ cniVersion: own }, version)).toBeDefined()
  })

  it('knows no other versions', () => {
    expect(errorOf({}, '9.9.9')).toMatchObject({ msg: 'unsupported CNI result version "9.9.9"' })
  })

  it.each<[string, unknown, string, string]>([
    ['an array', [], '1.0.0', 'result: expected object, got array'],
    ['null', null, '1.0.0', 'result: expected object, got null'],
    ['a number', 7, '0.2.0', 'result: expected object, got number 7'],
    ['a version that is a number', { cniVersion: 1 }, '1.0.0', 'cniVersion: expected string, got number'],
    ['ips that are no list', { ips: {} }, '1.0.0', 'result.ips: expected array, got object'],
    ['an address that is missing', { ips: [{}] }, '1.0.0', 'result.ips[0].address: missing, expected string'],
    [
      'an address without a prefix',
      { ips: [{ address: '10.0.0.1' }] },
      '0.4.0',
      'result.ips[0].address: expected IP address with a prefix length like 10.1.0.0/16, got string "10.0.0.1"',
    ],
    [
      'a gateway that is none',
      { ips: [{ address: '10.0.0.1/8', gateway: 'gw' }] },
      '1.0.0',
      'result.ips[0].gateway: expected IP address, got string "gw"',
    ],
    [
      'an index that is a text',
      { ips: [{ address: '10.0.0.1/8', interface: '0' }] },
      '1.0.0',
      'result.ips[0].interface: expected integer, got string "0"',
    ],
    [
      'an old address',
      { ip4: { ip: 'x' } },
      '0.2.0',
      'result.ip4.ip: expected IP address with a prefix length like 10.1.0.0/16, got string "x"',
    ],
    [
      'a route without a destination',
      { routes: [{ gw: '::1' }] },
      '1.1.0',
      'result.routes[0].dst: missing, expected string',
    ],
    [
      'a domain that is a list',
      { dns: { domain: [] } },
      '0.3.1',
      'result.dns.domain: expected string, got array',
    ],
    [
      'a name that is an object',
      { interfaces: [{ name: {} }] },
      '1.0.0',
      'result.interfaces[0].name: expected string, got object',
    ],
  ])('refuses %s', (_, json, version, msg) => {
    expect(errorOf(json, version, 'P: ')).toMatchObject({ code: 7, msg: `P: ${msg}` })
  })

  it('throws nothing but CniErrors, whatever comes, and can print what it accepts', () => {
    const item = fc.record(
      { address: fc.jsonValue(), ip: fc.jsonValue(), dst: fc.jsonValue(), interface: fc.jsonValue() },
      { requiredKeys: [] },
    )
    const hostile = fc.record(
      {
        ips: fc.array(item),
        routes: fc.array(item),
        ip4: item,
        interfaces: fc.jsonValue(),
        dns: fc.jsonValue(),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), hostile), fc.constantFrom(...allVersions), (json, version) => {
        try {
          printJson(toVersion(parseResult(json, version), version))
        } catch (error) {
          expect(error).toBeInstanceOf(CniError)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('reads a result by the version it names', () => {
    expect(parseOwnResult({ cniVersion: '0.2.0', ip4: v4 }, '1.1.0').ips).toEqual([
      { address: '10.1.2.3/16', gateway: '10.1.0.1' },
    ])
    expect(parseOwnResult({ ips: [{ address: '10.0.0.1/8' }] }, '1.1.0').ips).toEqual([
      { address: '10.0.0.1/8' },
    ])
  })
})

describe('between any two versions', () => {
  const v4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((parts) => parts.join('.'))
  const v6 = fc
    .array(fc.constantFrom(0, 1, 0xdb8, 0xffff), { minLength: 8, maxLength: 8 })
    .map((parts) => parts.map((part) => part.toString(16)).join(':'))
    .filter((text) => !text.startsWith('0:0:0:0:0:ffff'))
  const family = (ip: fc.Arbitrary<string>, bits: number) => ({
    ip,
    cidr: fc.tuple(ip, fc.nat(bits)).map(([address, prefix]) => `${address}/${prefix}`),
  })
  const families = [family(v4, 32), family(v6, 128)] as const
  const either = fc.oneof(families[0].cidr, families[1].cidr)
  const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
  /** What every version can say: one address a family and nothing more than addresses, gateways and routes. */
  const plain: fc.Arbitrary<Result> = fc
    .tuple(
      optional(fc.record({ address: families[0].cidr, gateway: optional(families[0].ip) })),
      optional(fc.record({ address: families[1].cidr, gateway: optional(families[1].ip) })),
      fc.array(families[0].cidr, { maxLength: 2 }),
      fc.array(families[1].cidr, { maxLength: 2 }),
    )
    .filter(([a, b]) => a !== undefined || b !== undefined)
    .map(([a, b, r4, r6]) => ({
      ips: [a, b].filter((ip) => ip !== undefined),
      routes: [...(a ? r4 : []), ...(b ? r6 : [])].map((dst) => ({ dst })),
    }))
  /** What 0.3.0 and later can say. */
  const rich: fc.Arbitrary<Result> = fc.record({
    interfaces: fc.array(fc.record({ name: fc.string(), mac: fc.string(), sandbox: fc.string() }), {
      maxLength: 3,
    }),
    ips: fc.array(fc.record({ address: either, interface: optional(fc.nat(3)) }), { maxLength: 3 }),
    routes: fc.array(fc.record({ dst: either, mtu: fc.nat(9000), table: optional(fc.nat(300)) }), {
      maxLength: 3,
    }),
    dns: fc.record({ nameservers: fc.array(fc.string(), { maxLength: 2 }), domain: fc.string() }),
  })
  const pairs = allVersions.flatMap((from) => allVersions.map((to) => [from, to] as const))
  const through = (json: JsonObject, version: string) => parseResult(JSON.parse(printJson(json)), version)

  it.each(pairs)('%s to %s and back loses nothing that both can say', (from, to) => {
    const common = from < '0.3' || to < '0.3' ? plain : rich
    fc.assert(
      fc.property(common, (result) => {
        const there = through(toVersion(result, from), from)
        const back = through(toVersion(there, to), to)
        expect(printJson(toVersion(back, from))).toBe(printJson(toVersion(result, from)))
      }),
      { numRuns: 25 },
    )
  })
})
