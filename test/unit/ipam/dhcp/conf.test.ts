import { describe, expect, it, test } from 'vitest'
import type { CniError } from '../../../../cni/error.ts'
import { parseConf, parseConfLenient } from '../../../../cni/schema.ts'
import {
  DEFAULT_SOCKET,
  type DhcpConf,
  dhcpConf,
  leasesOf,
  socketOf,
  versionsOf,
} from '../../../../ipam/dhcp/conf.ts'

const raw = (ipam: unknown) => ({ cniVersion: '1.1.0', name: 'net', type: 'macvlan', ipam })
const conf = (ipam: unknown = {}): DhcpConf => parseConf(dhcpConf, raw(ipam), 'dhcp')
const errorOf = (ipam: unknown): CniError => {
  try {
    conf(ipam)
  } catch (error) {
    return error as CniError
  }
  throw new Error('it was taken')
}

describe('a configuration', () => {
  test('needs nothing', () => {
    const expected = {
      daemonSocketPath: '',
      provide: [],
      request: [],
      priority: 0,
      clientId: '',
      hostname: '',
      arpProbe: true,
      standalone: false,
      waitForRouter: true,
      rapidCommit: true,
    }
    expect(conf({ type: 'dhcp' }).ipam).toEqual({ type: 'dhcp', ...expected })
    expect(conf().ipam).toEqual(expected)
    expect(parseConf(dhcpConf, { name: 'net' }, 'dhcp').ipam).toEqual(expected)
    expect(conf(null).ipam).toEqual(expected)
  })

  test('has all of these', () => {
    const ipam = {
      type: 'dhcp',
      daemonSocketPath: '/run/other.sock',
      provide: [
        { option: 'host-name', value: 'a', fromArg: '' },
        { option: '60', value: '', fromArg: 'K8S_POD_NAME' },
      ],
      request: [{ option: 'routers', skipDefault: true }, { skipDefault: false }],
      priority: 100,
      clientId: 'hex:01:02',
      hostname: 'pod',
      broadcast: true,
      timeout: 5,
      arpProbe: false,
      standalone: true,
      version: 4,
      versions: [6, 4],
      waitForRouter: false,
      rapidCommit: false,
    }
    expect(conf(ipam).ipam).toEqual(ipam)
  })

  test('spells its keys as it likes, as Go has it', () => {
    const { ipam } = conf({
      DaemonSocketPath: '/x',
      PROVIDE: [{ Option: '12', FROMARG: 'A' }],
      ClientID: 'mac',
    })
    expect(ipam).toMatchObject({
      daemonSocketPath: '/x',
      provide: [{ option: '12', value: '', fromArg: 'A' }],
      clientId: 'mac',
    })
  })

  it.each<[string, unknown]>([
    ['daemonSocketPath', 7],
    ['provide', 'host-name'],
    ['provide', [{ value: 'x' }]],
    ['provide', [{ option: 12, value: 'x' }]],
    ['request', [{ option: 'routers', skipDefault: 'yes' }]],
    ['priority', 1.5],
    ['clientId', 'hex:0'],
    ['clientId', 'hex:xy'],
    ['clientId', 'hex:01'],
    ['clientId', 'hex:'],
    ['clientId', 'x'.repeat(255)],
    ['hostname', 'not a name'],
    ['hostname', `${'a'.repeat(64)}.example`],
    ['hostname', 'a..b'],
    ['broadcast', 'yes'],
    ['timeout', 0],
    ['timeout', 201],
    ['timeout', 1.5],
    ['arpProbe', 1],
    ['standalone', 'true'],
    ['version', 5],
    ['version', '4'],
    ['versions', []],
    ['versions', [4, 5]],
    ['versions', 4],
    ['waitForRouter', 0],
    ['rapidCommit', 0],
  ])('is refused with code 7 for %s %j, which it names', (key, value) => {
    const { code, msg, details } = errorOf({ [key]: value })
    expect(code).toBe(7)
    expect(`${msg} ${details}`).toContain(`ipam.${key}`)
  })

  it.each(['bogus', '', '256', '-1', '1.5', '0x10', '0', '53', '255', 'dhcp-message-type', '__proto__'])(
    'is refused for an option %j, in the words of the Go plugin',
    (option) => {
      for (const ipam of [{ provide: [{ option, value: 'x' }] }, { request: [{ option }] }])
        expect(errorOf(ipam)).toMatchObject({
          code: 7,
          msg: expect.stringContaining(`Can not parse option ${JSON.stringify(option)}: `),
        })
    },
  )

  test.each([
    'dhcp-client-identifier',
    'subnet-mask',
    'routers',
    'host-name',
    'user-class',
    'vendor-class-identifier',
    '1',
    '254',
    '077',
  ])('takes the option %s', (option) => {
    expect(conf({ request: [{ option }] }).ipam.request).toEqual([{ option, skipDefault: false }])
  })

  test('is refused for a value that is too long, by its bytes', () => {
    const value = (text: string) => ({ provide: [{ option: '12', value: text }] })
    expect(conf(value('x'.repeat(255))).ipam.provide).toHaveLength(1)
    expect(errorOf(value('x'.repeat(256)))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('value too long for option'),
    })
    expect(errorOf(value('ä'.repeat(128))).code).toBe(7)
  })

  test('takes a client identifier of every form', () => {
    for (const clientId of [
      '',
      'mac',
      'duid',
      'hex:0102',
      'hex:ff:00:AA',
      'any text/at all',
      'x'.repeat(254),
    ])
      expect(conf({ clientId }).ipam.clientId).toBe(clientId)
  })
})

describe('a configuration read for DEL', () => {
  test('loses what makes no sense, and keeps the rest', () => {
    const { conf: kept, warnings } = parseConfLenient(
      dhcpConf,
      raw({
        daemonSocketPath: '/run/x.sock',
        provide: [{ option: 'bogus', value: 'x' }, { option: '12', value: 'y' }, 7],
        request: 'all',
        priority: 'high',
        clientId: 'hex:0',
        hostname: 'no name',
        timeout: -1,
        version: 9,
        versions: [9],
        standalone: 'yes',
        arpProbe: [],
      }),
    )
    expect(kept).toMatchObject({
      name: 'net',
      ipam: {
        daemonSocketPath: '/run/x.sock',
        provide: [{ option: '12', value: 'y', fromArg: '' }],
        request: [],
        priority: 0,
        clientId: '',
        hostname: '',
        standalone: false,
        arpProbe: true,
      },
    })
    expect(warnings.length).toBeGreaterThanOrEqual(9)
    expect(socketOf(kept)).toBe('/run/x.sock')
  })

  it.each([null, undefined, 7, 'dhcp', [], {}, { name: 7, ipam: [] }, { ipam: { daemonSocketPath: {} } }])(
    'can be %j',
    (any) => {
      const { conf: kept } = parseConfLenient(dhcpConf, any)
      expect(socketOf(kept)).toBe(DEFAULT_SOCKET)
      expect(versionsOf(kept)).toEqual([4])
    },
  )

  test('has the default where no version is left', () => {
    expect(versionsOf(parseConfLenient(dhcpConf, raw({ version: 9 })).conf)).toEqual([4])
  })
})

describe('what a configuration says', () => {
  test('where the keeper listens, and notes its leases', () => {
    expect(socketOf(conf())).toBe('/run/cni/dhcp.sock')
    expect(leasesOf(socketOf(conf()))).toBe('/run/cni/dhcp.leases')
    expect(leasesOf('/run/x')).toBe('/run/x.leases')
    expect(leasesOf('/run/x.sock.d/a.sock')).toBe('/run/x.sock.d/a.leases')
  })

  it.each<[object, readonly number[]]>([
    [{}, [4]],
    [{ version: 6 }, [6]],
    [{ versions: [6, 4] }, [4, 6]],
    [{ versions: [6, 6] }, [6]],
    [{ version: 4, versions: [6] }, [6]],
  ])('which protocols: %j', (ipam, versions) => {
    expect(versionsOf(conf(ipam))).toEqual(versions)
  })
})
