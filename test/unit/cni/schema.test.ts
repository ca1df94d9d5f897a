import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { CniError } from '../../../cni/error.ts'
import { lookup } from '../../../cni/fold.ts'
import { jsonSchema } from '../../../cni/json-schema.ts'
import {
  argsOf,
  cidr,
  commonConf,
  expects,
  flag,
  integer,
  ip,
  ipOrCidr,
  mac,
  mtu,
  parseConf,
  parseConfLenient,
  route,
  routes,
  rule,
  runtimeConfigOf,
  uint32,
} from '../../../cni/schema.ts'

const conf = z.object({
  ...commonConf,
  bridge: z._default(z.string(), 'cni0'),
  isGateway: flag,
  mtu: z._default(mtu, 0),
  vlan: z._default(
    z.int().check(
      rule(
        (vlan) => vlan >= 0 && vlan <= 4094,
        (vlan) => `invalid VLAN ID ${vlan} (must be between 0 and 4094)`,
      ),
    ),
    0,
  ),
  vlanTrunk: z.optional(z.array(z.object({ id: z.optional(integer(1, 4094)) }))),
  sysctl: z.optional(z.record(z.string(), z.string())),
  routes: z.optional(routes),
  nested: z.optional(z.record(z.string(), z.object({ subNet: z.string() }))),
  mode: z.optional(z.enum(['l2', 'l3'])),
})

const parse = (raw: unknown) => parseConf(conf, raw, 'bridge')
const errorOf = (raw: unknown): CniError => {
  try {
    parse(raw)
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it was accepted')
}
const json = (text: string): unknown => JSON.parse(text)

describe('keys as Go matches them', () => {
  it.each([
    ['any case', '{"NAME":"n","ISGATEWAY":true}', { name: 'n', isGateway: true }],
    ['the last of several, in document order', '{"name":"a","Name":"b"}', { name: 'b' }],
    ['the last of several, whatever is exact', '{"NAME":"a","name":"b"}', { name: 'b' }],
    ['a null is no key', '{"name":"a","Name":null,"mtu":null,"ipam":null}', { name: 'a', mtu: 0 }],
    ['the long s and the Kelvin sign', '{"name":"n","i\u017fGateway":true}', { isGateway: true }],
    [
      'below objects',
      '{"name":"n","DNS":{"NameServers":["1.1.1.1"]}}',
      { dns: { nameservers: ['1.1.1.1'] } },
    ],
    ['below arrays', '{"name":"n","Routes":[{"DST":"10.0.0.0/8"}]}', { routes: [{ dst: '10.0.0.0/8' }] }],
    ['below maps', '{"name":"n","nested":{"A":{"subnet":"x"}}}', { nested: { A: { subNet: 'x' } } }],
    [
      'keys of maps keep their case',
      '{"name":"n","sysctl":{"net.A":"1","net.a":"2"}}',
      { sysctl: { 'net.A': '1', 'net.a': '2' } },
    ],
    ['unknown keys are ignored', '{"name":"n","x":{"y":[1]}}', { name: 'n' }],
    [
      'loose objects keep what they do not know',
      '{"name":"n","RuntimeConfig":{"MAC":"02:00:00:00:00:01","x":1}}',
      { runtimeConfig: { mac: '02:00:00:00:00:01', x: 1 } },
    ],
    [
      'an own __proto__ is no prototype',
      '{"name":"n","args":{"cni":{"__proto__":{"mac":"x"}}}}',
      { args: { cni: {} } },
    ],
  ])('%s', (_, text, expected) => {
    expect(parse(json(text))).toMatchObject(expected)
  })

  it('leaves unknown keys out of strict objects', () => {
    expect(Object.keys(parse({ name: 'n', other: 1 }))).not.toContain('other')
  })

  it('finds single keys the same way', () => {
    expect(lookup({ Name: 'a', NAME: 'b', name: null }, 'name')).toBe('b')
    expect(lookup({ names: 'a' }, 'name')).toBeUndefined()
  })

  it('never throws anything but a CniError, whatever comes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        for (const raw of [
          value,
          { name: 'n', ipam: value, dns: value, routes: [value], mtu: value, args: value },
        ])
          try {
            parse(raw)
          } catch (error) {
            expect(error).toBeInstanceOf(CniError)
          }
        const { conf, warnings } = parseConfLenient(z.object(commonConf), value)
        expect(typeof conf.name).toBe('string')
        expect(Array.isArray(warnings)).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

describe('errors', () => {
  it.each([
    [{ name: 'n', mtu: '1500' }, 'bridge.mtu: expected integer from 0 to 2147483647, got string "1500"'],
    [{ name: 'n', mtu: -1 }, 'bridge.mtu: expected integer from 0 to 2147483647, got number -1'],
    [{ name: 'n', mtu: 1.5 }, 'bridge.mtu: expected integer from 0 to 2147483647, got number 1.5'],
    [{ name: 'n', mtu: 2 ** 31 }, 'bridge.mtu: expected integer from 0 to 2147483647, got number 2147483648'],
    [{ name: 'n', isGateway: 'true' }, 'bridge.isGateway: expected boolean, got string "true"'],
    [{ name: 'n', bridge: 7 }, 'bridge.bridge: expected string, got number 7'],
    [{ name: 'n', ipam: 'host-local' }, 'bridge.ipam: expected object, got string "host-local"'],
    [{ name: 'n', routes: {} }, 'bridge.routes: expected array, got object'],
    [{ name: 'n', routes: [{}] }, 'bridge.routes[0].dst: missing, expected string'],
    [{ name: 'n', routes: [null] }, 'bridge.routes[0]: expected object, got null'],
    [
      { name: 'n', routes: [{ dst: '10.0.0.0/8' }, { dst: '10.0.0.0/33' }] },
      'bridge.routes[1].dst: expected IP address with a prefix length like 10.1.0.0/16, got string "10.0.0.0/33"',
    ],
    [{ name: 'n', sysctl: { a: 1 } }, 'bridge.sysctl.a: expected string, got number 1'],
    [{ name: 'n', mode: 'l4' }, 'bridge.mode: expected one of "l2", "l3", got string "l4"'],
    [
      { name: 'n', vlanTrunk: [{ id: 0 }] },
      'bridge.vlanTrunk[0].id: expected integer from 1 to 4094, got number 0',
    ],
    [
      { name: 'n', args: { cni: { mac: '02:00' } } },
      'bridge.args.cni.mac: expected MAC address like 02:11:22:33:44:55, got string "02:00"',
    ],
    [{}, 'bridge.name: missing, expected string'],
    [[], 'bridge: expected object, got array'],
    ['x', 'bridge: expected object, got string "x"'],
  ])('%j', (raw, msg) => {
    expect(errorOf(raw)).toMatchObject({ code: 7, msg: `failed to load netconf: ${msg}` })
  })

  it('uses the texts of rules as they are, and names the key in the details', () => {
    expect(errorOf({ name: 'n', vlan: 5000 })).toMatchObject({
      code: 7,
      msg: 'invalid VLAN ID 5000 (must be between 0 and 4094)',
      details: 'key vlan',
    })
  })

  it('puts what was expected and the other errors into the details', () => {
    expect(errorOf({ name: 'n', isGateway: 1, mtu: '9' }).details).toBe(
      'key isGateway takes: boolean; mtu: expected integer from 0 to 2147483647, got string "9"',
    )
  })

  it('cuts long values short', () => {
    expect(errorOf({ name: 'n', mtu: 'x'.repeat(5000) }).msg.length).toBeLessThan(250)
  })
})

describe('field types', () => {
  const accepts = (schema: z.core.$ZodType, value: unknown) => z.safeParse(schema, value).success
  it.each<[string, z.core.$ZodType, readonly unknown[], readonly unknown[]]>([
    [
      'mac',
      mac,
      ['02:11:22:33:44:55', '02-11-22-33-44-55', '0211.2233.4455', ''],
      ['02:11', 'zz:11:22:33:44:55', 1],
    ],
    [
      'ip',
      ip,
      ['10.0.0.1', '::1', '::ffff:10.0.0.1', ''],
      ['10.0.0.01', '10.0.0', 'fe80::1%eth0', ' 10.0.0.1', '10.0.0.1/8'],
    ],
    [
      'cidr',
      cidr,
      ['10.1.2.3/16', '2001:db8::/32', '0.0.0.0/0'],
      ['10.0.0.0', '10.0.0.0/33', '::/129', '', '10.0.0.0/-1'],
    ],
    ['ipOrCidr', ipOrCidr, ['10.0.0.1', '10.0.0.1/24'], ['', '10.0.0.1/', 'x']],
    ['uint32', uint32, [0, 4294967295], [-1, 4294967296, 1.5, '1', 1e300]],
    [
      'route',
      route,
      [{ dst: '::/0', gw: '', scope: 0, table: 254 }],
      [{ dst: '::/0', scope: 256 }, { gw: '1.1.1.1' }],
    ],
    ['expects', z.string().check(expects((text) => text === 'x', 'x')), ['x'], ['y']],
    ['runtimeConfigOf', runtimeConfigOf({ n: z.int() }), [undefined, { n: 1, more: 2 }], [{ n: 'x' }, 1]],
    [
      'argsOf',
      argsOf({ n: z.optional(z.int()) }),
      [undefined, {}, { cni: {} }, { cni: { n: 1 }, K: 1 }],
      [{ cni: 1 }],
    ],
  ])('%s', (_, schema, good, bad) => {
    for (const value of good) expect(accepts(schema, value), JSON.stringify(value)).toBe(true)
    for (const value of bad) expect(accepts(schema, value), JSON.stringify(value)).toBe(false)
  })
})

describe('lenient reading, for DEL and GC', () => {
  it('gives keys that do not validate their default and says which', () => {
    const raw = {
      name: 'n',
      MTU: '1500',
      vlan: 9999,
      bridge: ['x'],
      ipam: { type: 'static', addresses: 7 },
      routes: [{ dst: '10.0.0.0/8' }, { dst: 'x' }],
      runtimeConfig: { mac: 'x', other: 1 },
    }
    const { conf: read, warnings } = parseConfLenient(conf, raw)
    expect(read).toEqual({
      cniVersion: '0.1.0',
      name: 'n',
      bridge: 'cni0',
      isGateway: false,
      mtu: 0,
      vlan: 0,
      ipam: { type: 'static', addresses: 7 },
      routes: [{ dst: '10.0.0.0/8' }],
      runtimeConfig: { other: 1 },
    })
    expect(warnings).toEqual([
      'runtimeConfig.mac: expected MAC address like 02:11:22:33:44:55, got string "x"',
      'bridge: expected string, got array',
      'mtu: expected integer from 0 to 2147483647, got string "1500"',
      'invalid VLAN ID 9999 (must be between 0 and 4094)',
      'routes[1].dst: expected IP address with a prefix length like 10.1.0.0/16, got string "x"',
    ])
  })

  it('is silent where all is well', () => {
    expect(parseConfLenient(conf, { name: 'n' }).warnings).toEqual([])
  })

  it('gives the empty value of its type to what has no default', () => {
    const strict = z.object({
      text: z.string().check(z.minLength(1)),
      number: integer(1, 9),
      list: z.array(z.string()),
      object: z.object({ flag: z.boolean(), choice: z.optional(z.enum(['a'])) }),
      map: z.record(z.string(), z.string()),
    })
    expect(parseConfLenient(strict, { number: 'x', object: 3 }).conf).toEqual({
      text: '',
      number: 0,
      list: [],
      object: { flag: false },
      map: {},
    })
  })

  it('reports a rule about the whole object and keeps the object', () => {
    const both = z.object({ a: flag, b: flag }).check(
      rule(
        ({ a, b }) => !(a && b),
        () => 'a and b at the same time',
      ),
    )
    expect(parseConfLenient(both, { a: true, b: true })).toEqual({
      conf: { a: true, b: true },
      warnings: ['a and b at the same time'],
    })
  })
})

describe('jsonSchema', () => {
  it('describes what is accepted', () => {
    const schema = jsonSchema({ type: 'bridge', conf })
    expect(schema).toMatchObject({
      title: 'CNI plugin bridge',
      type: 'object',
      required: ['name'],
      properties: {
        bridge: { type: 'string', default: 'cni0' },
        isGateway: { type: 'boolean', default: false },
        mtu: { type: 'integer', minimum: 0, maximum: 2147483647 },
        vlan: { type: 'integer', default: 0 },
        mode: { enum: ['l2', 'l3'] },
        routes: { type: 'array', items: { type: 'object', required: ['dst'] } },
      },
    })
    expect((schema.properties as { vlan: object }).vlan).not.toHaveProperty('minimum')
  })
})
