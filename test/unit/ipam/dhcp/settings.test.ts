import { describe, expect, it, test } from 'vitest'
import { parseConf } from '../../../../cni/schema.ts'
import type { JsonObject } from '../../../../cni/types.ts'
import { dhcpConf } from '../../../../ipam/dhcp/conf.ts'
import { clientSettings, clientSettings6, settings, settingsOf } from '../../../../ipam/dhcp/settings.ts'

const MAC = '02:00:5e:00:53:01'
const veth = { address: MAC, kind: 'veth' }
const hexOf = (text: string): string => Buffer.from(text).toString('hex')

const of = (
  ipam: JsonObject = {},
  { args = '', link = veth, broadcast = false, more = {} as JsonObject, containerId = 'c1' } = {},
) => {
  const conf = { cniVersion: '1.1.0', name: 'net', ...more, ipam: { type: 'dhcp', ...ipam } }
  const call = { containerId, ifName: 'eth0', netns: '/run/netns/c1', args, conf }
  return settingsOf(parseConf(dhcpConf, conf, 'dhcp'), call, link, broadcast)
}
const provided = (ipam: JsonObject, args = '') =>
  of({ ...ipam }, { args }).provide.map(([code, value]) => [code, Buffer.from(value, 'hex').toString()])

const usual = [121, 1, 3, 33, 6, 15, 119, 26]

describe('what a client is made of', () => {
  test('by default', () => {
    const found = of()
    expect(found).toMatchObject({
      clientId: `00${hexOf('c1/net/eth0')}`,
      broadcast: false,
      request: usual,
      provide: [],
      arpProbe: true,
      priority: 0,
      fixedMtu: false,
      waitForRouter: true,
      rapidCommit: true,
    })
    expect(found.duid).toMatch(/^0004[0-9a-f]{32}$/)
    expect(settings.parse(JSON.parse(JSON.stringify(found)))).toEqual(found)
  })

  test('is the same for the same attachment, and another for another', () => {
    expect(of()).toEqual(of())
    expect(of({}, { containerId: 'c2' }).duid).not.toBe(of().duid)
    expect(of({}, { containerId: 'c2' }).clientId).not.toBe(of().clientId)
  })

  test('keeps what the configuration says', () => {
    const ipam = { arpProbe: false, priority: 7, waitForRouter: false, rapidCommit: false }
    expect(of(ipam)).toMatchObject(ipam)
  })

  test.each([
    [1400, true],
    [0, false],
    [undefined, false],
    ['1400', false],
  ])('of an interface with the MTU %j configured', (mtu, fixedMtu) => {
    expect(of({}, { more: mtu === undefined ? {} : { mtu } }).fixedMtu).toBe(fixedMtu)
  })
})

describe('the broadcast flag', () => {
  it.each<[JsonObject, string, boolean, boolean]>([
    [{}, 'veth', false, false],
    [{}, 'ipvlan', false, true],
    [{}, 'veth', true, true],
    [{ broadcast: true }, 'veth', false, true],
    [{ broadcast: false }, 'ipvlan', true, false],
  ])('%j on %s, keeper says %s: %s', (ipam, kind, broadcast, expected) => {
    expect(of(ipam, { link: { ...veth, kind }, broadcast }).broadcast).toBe(expected)
  })
})

describe('the client identifier', () => {
  it.each([
    ['mac', '0102005e005301'],
    ['hex:01:02:ff', '0102ff'],
    ['hex:0102FF', '0102ff'],
    ['some text', `00${hexOf('some text')}`],
  ])('of the form %s', (clientId, expected) => {
    expect(of({ clientId }).clientId).toBe(expected)
  })

  test('of the form duid has the interface and the container (RFC 4361)', () => {
    const { clientId, duid, iaid } = of({ clientId: 'duid' })
    expect(clientId).toBe(`ff${(iaid >>> 0).toString(16).padStart(8, '0')}${duid}`)
  })

  test('is raw where it is provided as an option, as Go has it, and is sent once', () => {
    const provide = [{ option: 'dhcp-client-identifier', value: 'abc' }]
    expect(of({ provide, clientId: 'mac' })).toMatchObject({ clientId: hexOf('abc'), provide: [] })
    expect(of({ provide: [{ option: '61', fromArg: 'ID' }] }, { args: 'ID=xyz' }).clientId).toBe(hexOf('xyz'))
  })

  test('is the default where that option has no value', () => {
    expect(of({ provide: [{ option: '61', fromArg: 'ID' }] }).clientId).toBe(of().clientId)
  })

  test('of a long container id is cut', () => {
    expect(of({}, { containerId: 'x'.repeat(400) }).clientId).toHaveLength(2 * 255)
  })

  test('of an interface without a MAC is none of another', () => {
    expect(of({ clientId: 'mac' }, { link: { ...veth, address: '' } }).clientId).toBe('01000000000000')
  })
})

describe('options that are asked for', () => {
  test('besides the usual ones, each once', () => {
    const request = of({ request: [{ option: '42' }, { option: '252' }, { option: '42' }] }).request
    expect([...request].sort((a, b) => a - b)).toEqual([...usual, 42, 252].sort((a, b) => a - b))
  })

  test('in place of the usual ones', () => {
    const request = [{ option: '42' }, { option: 'subnet-mask' }, { skipDefault: true }]
    expect(of({ request }).request).toEqual([42, 1])
    expect(of({ request: [{ option: '42', skipDefault: true }] }).request).toEqual([42])
  })

  test('are the usual ones where nothing would be left', () => {
    expect(of({ request: [{ skipDefault: true }] }).request).toEqual(usual)
    expect(of({ request: [] }).request).toEqual(usual)
    expect(of({ request: [{}] }).request).toEqual(usual)
  })

  test('have the classless routes before the others (RFC 3442)', () => {
    const { request } = of()
    expect(request.indexOf(121)).toBeLessThan(request.indexOf(3))
    expect(request.indexOf(121)).toBeLessThan(request.indexOf(33))
  })
})

describe('options that are provided', () => {
  test('with a value', () => {
    expect(provided({ provide: [{ option: 'host-name', value: 'a' }] })).toEqual([[12, 'a']])
    expect(provided({ provide: [{ option: '77', value: 'ä' }] })).toEqual([[77, 'ä']])
  })

  test('with an argument, or a value where there is none', () => {
    const provide = [{ option: '12', value: 'v', fromArg: 'K8S_POD_NAME' }]
    expect(provided({ provide }, 'K8S_POD_NAME=p')).toEqual([[12, 'p']])
    expect(provided({ provide }, 'K8S_POD_NAMESPACE=p')).toEqual([[12, 'v']])
    expect(provided({ provide })).toEqual([[12, 'v']])
  })

  test('with neither are not', () => {
    expect(provided({ provide: [{ option: '12' }, { option: '60', fromArg: 'X' }] }, 'Y=1')).toEqual([])
  })

  test('twice are what was said last', () => {
    const provide = [
      { option: '12', value: 'a' },
      { option: 'host-name', value: 'b' },
    ]
    expect(provided({ provide })).toEqual([[12, 'b']])
  })

  test('with an argument that is too long are refused, by its bytes', () => {
    const provide = [{ option: 'user-class', fromArg: 'X' }]
    expect(provided({ provide }, `X=${'x'.repeat(255)}`)[0]![1]).toHaveLength(255)
    for (const value of ['x'.repeat(256), 'ä'.repeat(128)])
      expect(() => provided({ provide }, `X=${value}`)).toThrow(
        expect.objectContaining({
          code: 7,
          msg: expect.stringContaining('value too long for option "user-class"'),
        }),
      )
  })

  it.each([
    ['X=a;X=b', 'b'],
    ['X=a=b', 'a=b'],
    ['X==', '='],
    [';;X=a;;', 'a'],
    ['junk;X=a;more', 'a'],
    ['IgnoreUnknown=1;X=a b', 'a b'],
    [' X=a;X=b', 'b'],
    ['XX=a;X=b', 'b'],
    ['X=ä', 'ä'],
  ])('by CNI_ARGS %j', (args, expected) => {
    expect(provided({ provide: [{ option: '60', fromArg: 'X' }] }, args)).toEqual([[60, expected]])
  })

  it.each(['', ';', '=', 'x=1', 'X', 'XX=1', ' X=1', '=X'])('not by CNI_ARGS %j', (args) => {
    expect(provided({ provide: [{ option: '60', fromArg: 'X' }] }, args)).toEqual([])
  })

  test('never by an argument without a name', () => {
    expect(provided({ provide: [{ option: '60', value: 'v' }] }, '=x')).toEqual([[60, 'v']])
  })
})

describe('the host name', () => {
  test('is none by default, even where Kubernetes tells it', () => {
    expect(provided({}, 'K8S_POD_NAME=web-0')).toEqual([])
  })

  test('is what the configuration says', () => {
    expect(provided({ hostname: 'host.example' })).toEqual([[12, 'host.example']])
  })

  test('is the pod', () => {
    expect(provided({ hostname: 'pod' }, 'IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0')).toEqual([
      [12, 'web-0'],
    ])
    expect(provided({ hostname: 'pod' })).toEqual([])
    expect(provided({ hostname: 'pod' }, 'K8S_POD_NAME=')).toEqual([])
  })

  test('is no name that could not be one', () => {
    for (const name of ['a b', 'x'.repeat(64), 'a..b', '-a', 'a\nb'])
      expect(() => provided({ hostname: 'pod' }, `K8S_POD_NAME=${name}`)).toThrow(
        expect.objectContaining({ code: 7, msg: expect.stringContaining('K8S_POD_NAME') }),
      )
  })

  test('gives way to what is provided', () => {
    expect(provided({ hostname: 'a', provide: [{ option: 'host-name', value: 'b' }] })).toEqual([[12, 'b']])
  })
})

describe('clients', () => {
  test('of DHCPv4 are told in bytes', () => {
    const found = of({ provide: [{ option: '60', value: 'v' }] })
    expect(clientSettings(found, MAC, { firstTimeout: 1, maxTimeout: 2 })).toEqual({
      mac: Uint8Array.of(2, 0, 0x5e, 0, 0x53, 1),
      clientId: Uint8Array.from(Buffer.from('\0c1/net/eth0')),
      broadcast: false,
      request: usual,
      provide: new Map([[60, Uint8Array.of(0x76)]]),
      arpProbe: true,
      firstTimeout: 1,
      maxTimeout: 2,
    })
  })

  test('of DHCPv6 have the DUID', () => {
    const found = of()
    const { clientId, iaid } = clientSettings6(found)
    expect(Buffer.from(clientId).toString('hex')).toBe(found.duid)
    expect(iaid).toBe(found.iaid)
  })
})

describe('settings of a journal', () => {
  it.each<[string, object]>([
    ['a client identifier that is no hex', { clientId: 'xy' }],
    ['half a byte', { duid: '000' }],
    ['an option outside a byte', { request: [256] }],
    ['a value that is no hex', { provide: [[12, 'zz']] }],
    ['no probe', { arpProbe: undefined }],
  ])('are refused with %s', (_, changes) => {
    expect(() => settings.parse({ ...of(), ...changes })).toThrow()
  })
})
