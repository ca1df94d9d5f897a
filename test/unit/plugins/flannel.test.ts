import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { parseConf } from '../../../cni/schema.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { flannelConf } from '../../../plugins/flannel/conf.ts'
import { generate } from '../../../plugins/flannel/generate.ts'
import { KeptConfs, textsOf } from '../../../plugins/flannel/kept.ts'
import { parseSubnetFile, readSubnetFile } from '../../../plugins/flannel/subnet-file.ts'

const env = {
  FLANNEL_NETWORK: '10.244.0.0/16',
  FLANNEL_SUBNET: '10.244.7.1/24',
  FLANNEL_MTU: '1450',
  FLANNEL_IPMASQ: 'true',
}
const parse = (more: Readonly<Record<string, string>> = {}, base: Readonly<Record<string, string>> = env) =>
  parseSubnetFile(
    Object.entries({ ...base, ...more })
      .map(([key, value]) => `${key}=${value}`)
      .join('\n'),
    '/x',
  )

const temporary = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'flannel-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

describe('the subnet file', () => {
  test('of one family, of the other, of both', () => {
    const more = { FLANNEL_IPV6_NETWORK: 'fd00:244::/48', FLANNEL_IPV6_SUBNET: 'fd00:244:0:7::1/64' }
    const rest = { mtu: 1450, ipMasq: true }
    expect(parse()).toEqual({ networks: ['10.244.0.0/16'], subnets: ['10.244.7.0/24'], ...rest })
    expect(parse(more, { FLANNEL_MTU: '1450', FLANNEL_IPMASQ: 'true' })).toEqual({
      networks: ['fd00:244::/48'],
      subnets: ['fd00:244:0:7::/64'],
      ...rest,
    })
    expect(parse(more)).toEqual({
      networks: ['10.244.0.0/16', 'fd00:244::/48'],
      subnets: ['10.244.7.0/24', 'fd00:244:0:7::/64'],
      ...rest,
    })
  })

  test('a list of networks, none twice, without host bits', () => {
    expect(parse({ FLANNEL_NETWORK: '10.1.0.0/16,10.2.3.4/16,10.1.9.9/16' }).networks).toEqual([
      '10.1.0.0/16',
      '10.2.0.0/16',
    ])
  })

  test('comments, other keys, carriage returns and a key that comes twice', () => {
    const lines = [
      '# FLANNEL_MTU=1',
      'FLANNEL_MTU=900',
      ...Object.entries(env).map((pair) => pair.join('=')),
      'A=b',
      '=',
    ]
    expect(parseSubnetFile(lines.join('\r\n'), '/x').mtu).toBe(1450)
  })

  test.each([
    ['FLANNEL_NETWORK', '10.244.0.0', 'not IPv4 prefixes'],
    ['FLANNEL_NETWORK', '10.244.0.0/33', 'not IPv4 prefixes'],
    ['FLANNEL_NETWORK', '10.1.0.0/16,', 'not IPv4 prefixes'],
    ['FLANNEL_NETWORK', 'fd00::/48', 'not IPv4 prefixes'],
    ['FLANNEL_NETWORK', '"10.244.0.0/16"', 'not IPv4 prefixes'],
    ['FLANNEL_SUBNET', '10.244.7.1/24 ', 'not an IPv4 address with its prefix length'],
    ['FLANNEL_SUBNET', '10.1.0.1/24,10.2.0.1/24', 'not an IPv4 address'],
    ['FLANNEL_IPV6_SUBNET', '10.244.7.1/24', 'not an IPv6 address'],
    ['FLANNEL_MTU', '', 'not a number of bytes'],
    ['FLANNEL_MTU', '-1', 'not a number of bytes'],
    ['FLANNEL_MTU', '1e3', 'not a number of bytes'],
    ['FLANNEL_MTU', '4294967295', 'not a number of bytes'],
    ['FLANNEL_IPMASQ', 'yes', 'not true or false'],
  ])('%s=%s is refused', (key, value, message) => {
    expect(() => parse({ [key]: value })).toThrow(`/x: ${key} is ${JSON.stringify(value)}, ${message}`)
  })

  test('a key without a value is refused', () => {
    expect(() => parseSubnetFile('FLANNEL_SUBNET', '/x')).toThrow('FLANNEL_SUBNET is ""')
  })

  test('what is missing is named', () => {
    expect(() => parseSubnetFile('', '/x')).toThrow(
      '/x is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ',
    )
  })

  test('any text is a subnet or a CniError', () => {
    const line = fc.tuple(fc.constantFrom(...Object.keys(env), 'FLANNEL_IPV6_SUBNET'), fc.string())
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        try {
          parseSubnetFile([...Object.entries(env), ...lines].map((pair) => pair.join('=')).join('\n'), '/x')
        } catch (error) {
          expect(error).toBeInstanceOf(CniError)
        }
      }),
    )
  })

  test('no file, no regular file, a huge one', () => {
    const folder = temporary()
    const fifo = join(folder, 'fifo')
    execFileSync('mkfifo', [fifo])
    writeFileSync(join(folder, 'huge'), Buffer.alloc(100_000))
    const failure = (path: string): unknown => {
      try {
        return readSubnetFile(path)
      } catch (error) {
        return error
      }
    }
    expect(failure(join(folder, 'none'))).toMatchObject({
      code: 11,
      msg: expect.stringContaining('no such file'),
    })
    expect(failure(fifo)).toMatchObject({ code: 7, msg: expect.stringContaining('no subnet file') })
    expect(failure(folder)).toMatchObject({ code: 7, msg: expect.stringContaining('no subnet file') })
    expect(failure(join(folder, 'huge'))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('no subnet file'),
    })
  })
})

describe('the configuration of the delegate', () => {
  const generated = (rawConf: JsonObject, masquerades = true): JsonObject => {
    const full = { cniVersion: '1.0.0', name: 'cbr0', type: 'flannel', ...rawConf }
    const conf = parseConf(flannelConf, full, 'flannel')
    return generate({ conf, rawConf: full, network: 'cbr0' }, parse({ FLANNEL_IPMASQ: String(masquerades) }))
  }
  const plain = {
    cniVersion: '1.0.0',
    ipMasq: false,
    ipam: { ranges: [[{ subnet: '10.244.7.0/24' }]], routes: [{ dst: '10.244.0.0/16' }], type: 'host-local' },
    isGateway: true,
    mtu: 1450,
    name: 'cbr0',
    type: 'bridge',
  }

  test('without anything', () => {
    expect(generated({})).toEqual(plain)
    expect(generated({ delegate: null, ipam: null, runtimeConfig: null })).toEqual(plain)
    expect(generated({}, false)).toEqual({ ...plain, ipMasq: true })
  })

  test("the delegate's own keys win, and its keys are in order", () => {
    const conf = generated({
      delegate: { mtu: 9000, ipMasq: true, isGateway: false, Zone: 1, hairpinMode: true },
    })
    expect(conf).toEqual({ ...plain, mtu: 9000, ipMasq: true, isGateway: false, Zone: 1, hairpinMode: true })
    expect(Object.keys(conf)).toEqual([...Object.keys(conf)].sort())
  })

  test('another plugin is no gateway', () => {
    const { isGateway, ...rest } = plain
    expect(generated({ delegate: { type: 'ipvlan', master: 'eth0' } })).toEqual({
      ...rest,
      type: 'ipvlan',
      master: 'eth0',
    })
  })

  test('ipam is completed, runtimeConfig passed on, both in any case', () => {
    const routes = [{ dst: '10.96.0.0/12', gw: '10.244.7.9', other: 1 }]
    expect(
      generated({
        IPAM: { type: 'x', routes, ranges: 1, more: true },
        RuntimeConfig: { a: 1 },
        delegate: { runtimeConfig: 2 },
      }),
    ).toEqual({
      ...plain,
      ipam: { ...plain.ipam, type: 'x', routes: [...routes, { dst: '10.244.0.0/16' }], more: true },
      runtimeConfig: { a: 1 },
    })
  })

  test.each([
    [
      { delegate: { name: 'x' } },
      "'delegate' dictionary must not have 'name' field, it'll be set by flannel",
    ],
    [
      { delegate: { ipam: null } },
      "'delegate' dictionary must not have 'ipam' field, it'll be set by flannel",
    ],
    [{ delegate: { type: null } }, "'delegate' dictionary, if present, must have (string) 'type' field"],
    [{ delegate: { type: 'flannel' } }, 'it would call itself'],
    [{ delegate: [] }, 'flannel.delegate: expected object'],
    [{ ipam: { routes: [{ dst: 'x' }] } }, 'flannel.ipam.routes[0].dst: expected IP address'],
  ])('%j is refused', (conf, message) => {
    expect(() => generated(conf as JsonObject)).toThrow(message)
  })
})

describe('what is kept', () => {
  const id = { containerId: 'c1', ifName: 'eth0' }
  const conf = { type: 'bridge', name: 'net' }

  test('appears and goes, with its folder, and nothing else does', () => {
    const folder = join(temporary(), 'a/b')
    const kept = new KeptConfs(folder, 'net')
    expect(kept.find(id)).toBeNull()
    kept.forget(id)
    const before = kept.get(id)
    kept.put(id, textsOf(conf))
    expect(readFileSync(join(folder, 'c1'), 'utf8')).toBe('{"type":"bridge","name":"net"}')
    expect(readdirSync(join(folder, '.attachments/c1'))).toEqual(['net:eth0'])
    expect(kept.find(id)).toEqual(conf)
    expect(kept.find({ ...id, containerId: 'c2' })).toBeNull()
    kept.put(id, before)
    expect(readdirSync(folder)).toEqual(['.attachments'])
    expect(readdirSync(join(folder, '.attachments'))).toEqual([])
  })

  test('what a killed ADD has half written goes with it', () => {
    const folder = temporary()
    const kept = new KeptConfs(folder, 'net')
    kept.put(id, textsOf(conf))
    const draft = join(folder, '.attachments/c1/.net:eth0')
    writeFileSync(draft, '{"ty')
    kept.put(id, textsOf(conf))
    expect(readdirSync(join(folder, '.attachments/c1'))).toEqual(['net:eth0'])
    writeFileSync(draft, '{"ty')
    kept.forget(id)
    expect(readdirSync(folder)).toEqual(['.attachments'])
    expect(readdirSync(join(folder, '.attachments'))).toEqual([])
  })

  test("the Go plugin's file: of this network only, and of one that says none", () => {
    const folder = temporary()
    const kept = new KeptConfs(folder, 'net')
    const write = (text: string): void => writeFileSync(join(folder, 'c1'), text)
    write(JSON.stringify({ ...conf, name: 'other' }))
    expect(kept.find(id)).toBeNull()
    kept.forget(id)
    expect(readdirSync(folder)).toEqual(['c1'])
    expect(kept.list()).toEqual([])
    write('{"type":"ptp"}')
    expect(kept.find(id)).toEqual({ type: 'ptp' })
    write(JSON.stringify(conf))
    expect(kept.list()).toEqual([{ containerId: 'c1', ifName: null, conf }])
    kept.forget(id)
    expect(readdirSync(folder)).toEqual([])
  })

  test.each(['', '{', '[]', 'null', '{"type":7}', '{"type":""}', '{"type":"flannel"}'])(
    '%j helps nobody, and goes',
    (text) => {
      const folder = temporary()
      const kept = new KeptConfs(folder, 'net')
      writeFileSync(join(folder, 'c1'), text)
      expect(kept.find(id)).toBeNull()
      expect(kept.list()).toEqual([])
      kept.forget(id)
      expect(readdirSync(folder)).toEqual([])
    },
  )

  test('one network is not taken for another whose name begins alike', () => {
    const folder = temporary()
    const [net, longer] = [new KeptConfs(folder, 'net'), new KeptConfs(folder, 'net.2')]
    longer.put(id, textsOf({ ...conf, name: 'net.2' }))
    expect(net.find(id)).toBeNull()
    expect(net.list()).toEqual([])
    net.put(id, textsOf(conf))
    net.forget(id)
    // The Go plugin's file is the other one's again.
    expect(readFileSync(join(folder, 'c1'), 'utf8')).toContain('net.2')
    expect(longer.list().map(({ ifName }) => ifName)).toEqual(['eth0', null])
  })

  test('a folder in the place of a file, a file in the place of the folder', () => {
    const folder = temporary()
    mkdirSync(join(folder, 'c1'))
    const kept = new KeptConfs(folder, 'net')
    expect(kept.find(id)).toBeNull()
    expect(() => kept.put(id, textsOf(conf))).toThrow(CniError)
    writeFileSync(join(folder, 'file'), '')
    const none = new KeptConfs(join(folder, 'file'), 'net')
    expect(none.find(id)).toBeNull()
    expect(none.list()).toEqual([])
    none.forget(id)
    expect(() => none.put(id, textsOf(conf))).toThrow('file')
  })
})
