/** The Go plugin: what it writes for the delegate, what comes of it, and each taking away what the other made. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PluginCall, type PrintedResult, runPlugin } from '../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../support/space.ts'

/** Where the Go plugin is; others may be given. */
const goDir = process.env.PEER_FLANNEL_PATH ?? binDirs.goNewer
const isHere = existsSync(`${goDir}/flannel`) && existsSync(`${binDirs.goNewer}/bridge`)

const v4 = ['FLANNEL_NETWORK=10.244.0.0/16', 'FLANNEL_SUBNET=10.244.7.1/24']
const v6 = ['FLANNEL_IPV6_NETWORK=fd00:244::/48', 'FLANNEL_IPV6_SUBNET=fd00:244:0:7::1/64']
const rest = ['FLANNEL_MTU=1450', 'FLANNEL_IPMASQ=true']

interface Played {
  readonly status: number | null
  readonly msg: string | undefined
  readonly kept: string
  readonly result: Pick<PrintedResult, 'ips' | 'routes' | 'dns'> | null
}

class Side {
  readonly host: PrivateHost
  readonly container: Container
  readonly #conf: JsonObject

  constructor(host: PrivateHost, container: Container, conf: JsonObject) {
    this.host = host
    this.container = container
    this.#conf = conf
  }

  static async make(env: readonly string[], conf: JsonObject): Promise<Side> {
    const host = await privateHost()
    const side = new Side(host, await host.container(), conf)
    mkdirSync(host.file('/run/flannel'))
    if (env.length > 0) writeFileSync(host.file('/run/flannel/subnet.env'), `${env.join('\n')}\n`)
    return side
  }

  run(who: 'go' | 'ours', command: string, more: Partial<PluginCall> = {}) {
    const [binDir, path] = who === 'go' ? [goDir, binDirs.goNewer] : [binDirs.ours, binDirs.ours]
    const conf = { cniVersion: '0.4.0', name: 'cbr0', type: 'flannel', ...this.#conf }
    const { host, container: netns } = this
    return runPlugin({ host, binDir, path, type: 'flannel', command, netns, conf, ...more })
  }

  async add(who: 'go' | 'ours'): Promise<Played> {
    const { status, result, error } = await this.run(who, 'ADD')
    const { stdout: kept } = await this.host.run('cat', ['/var/lib/cni/flannel/cid-1'])
    const { ips = [], routes = [], dns = {} } = result ?? {}
    return { status, msg: error?.msg, kept, result: result && { ips, routes, dns } }
  }

  /** Links of the host and of the container but the bridge, rules, reservations and kept files. */
  async left(): Promise<string[]> {
    const script =
      'ip -o link; nft list ruleset; mkdir -p /var/lib/cni && cd /var/lib/cni && find . -type f ! -name lock ! -name "last_*" ! -path "*/.linkwright/*"'
    const host = (await this.host.must('sh', ['-c', script])).split('\n')
    const inside = (await this.container.must('ip', ['-o', 'link'])).split('\n')
    return [...host, ...inside].filter((line) => /veth|eth0|10\.244\.7\.\d|fd00:244:0:7::|^\.\//.test(line))
  }
}

const cases: readonly (readonly [title: string, env: readonly string[], conf: JsonObject])[] = [
  ['nothing', [...v4, ...rest], {}],
  ['IPv6 only', [...v6, ...rest], {}],
  ['both families', [...v4, ...v6, ...rest], {}],
  ['masquerade by the bridge', [...v4, 'FLANNEL_MTU=0', 'FLANNEL_IPMASQ=false'], {}],
  [
    'everything said by the delegate',
    [...v4, ...rest],
    {
      delegate: {
        bridge: 'x&y',
        mtu: 1300,
        ipMasq: true,
        isGateway: false,
        hairpinMode: true,
        forceAddress: null,
      },
    },
  ],
  [
    'ipam and runtimeConfig',
    [...v4, ...rest],
    {
      delegate: { isDefaultGateway: true, capabilities: { mac: true } },
      ipam: { routes: [{ dst: '10.96.0.0/12', gw: '10.244.7.9' }, { dst: '1.2.3.4/32' }], ranges: 'ignored' },
      runtimeConfig: { mac: '02:00:00:00:00:09', 'io.kubernetes.cri.pod-annotations': { a: '<b>' } },
    },
  ],
  ['another plugin', [...v4, ...rest], { delegate: { type: 'ptp' } }],
  ['lines that mean nothing, and one twice', ['# a', '', 'FLANNEL_MTU=900', 'X=1', ...v4, ...rest], {}],
]

const refused: readonly (readonly [title: string, env: readonly string[], conf: JsonObject])[] = [
  ['no file', [], {}],
  ['no MTU, no masquerade', v4, {}],
  ['no network', ['FLANNEL_SUBNET=10.244.7.1/24', ...rest], {}],
  ['no subnet', ['FLANNEL_NETWORK=10.244.0.0/16', ...rest], {}],
  ['a name for the delegate', [...v4, ...rest], { delegate: { name: 'x' } }],
  ['ipam for the delegate', [...v4, ...rest], { delegate: { ipam: {} } }],
  ['a type that is no text', [...v4, ...rest], { delegate: { type: 7 } }],
]

describe.runIf(isHere)('flannel', () => {
  test.each(cases)('%s', async (_, env, conf) => {
    const side = await Side.make(env, conf)
    const go = await side.add('go')
    expect(go.msg).toBeUndefined()
    // Each takes away what the other made.
    expect((await side.run('ours', 'DEL')).error).toBeNull()
    expect(await side.left()).toEqual([])
    // The next address would be another one.
    await side.host.must('rm', ['-r', '/var/lib/cni/networks'])
    expect(await side.add('ours')).toEqual(go)
    expect((await side.run('go', 'DEL')).error).toBeNull()
    // The Go plugin does not know of the second file. Nobody has need of it; the next GC takes it.
    expect(await side.left()).toEqual(['./flannel/.attachments/cid-1/cbr0:eth0'])
    const gc = { cniVersion: '1.1.0', name: 'cbr0', type: 'flannel', 'cni.dev/valid-attachments': [] }
    expect((await side.run('ours', 'GC', { conf: gc })).error).toBeNull()
    expect(await side.left()).toEqual([])
  })

  test.each(refused)('refused: %s', async (_, env, conf) => {
    const side = await Side.make(env, conf)
    const [go, ours] = [await side.add('go'), await side.add('ours')]
    expect(go.status).toBe(1)
    // Newer ones say more around it.
    expect(ours).toEqual({ ...go, msg: expect.stringContaining(String(go.msg)) })
    expect(await side.left()).toEqual([])
  })
})

test('is compared where the Go plugin is; npm test says so where not', () => {
  expect(isHere || !existsSync(binDirs.goNewer)).toBe(true)
})
