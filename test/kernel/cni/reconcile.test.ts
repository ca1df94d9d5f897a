/** `linkwright reconcile`: what others have flushed is there again, and nothing else has changed. */
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'
import { defaultCacheDir, listCache, removeCache } from '../../../cni/cache.ts'
import { runChain } from '../../../cni/chain.ts'
import { parseConfList } from '../../../cni/conflist.ts'
import { type AnyPlugin, definePlugin } from '../../../cni/plugin.ts'
import { reconcile } from '../../../cni/reconcile.ts'
import { commonConf } from '../../../cni/schema.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { plugins } from '../../../plugins/index.ts'
import { plainEnv } from '../../support/program.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { classic, node } from '../plugins/node.ts'

const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))

interface Outcome {
  readonly network: string
  readonly containerId: string
  readonly ifName: string
  readonly repairs: readonly { readonly type: string; readonly missing: readonly string[] }[]
  readonly skipped: string | null
  readonly errors: readonly { readonly code: number; readonly msg: string }[]
}

const list = (name: string, ...conf: JsonObject[]): string =>
  JSON.stringify({ cniVersion: '1.0.0', name, plugins: conf })

const bridged = list('net', { type: 'bridge', ...classic, macspoofchk: true })
const routed = list('wires', {
  type: 'ptp',
  ipMasq: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.23.0.0/16' }], [{ subnet: 'fd00:23::/64' }]],
  },
})

const onHost = async () => {
  const host = await privateHost()
  const call = (args: readonly string[], input = '') =>
    host.run(process.execPath, [linkwright, ...args], { input })
  const add = async (container: Container, network: string): Promise<void> => {
    expect(await call(['add', '-', container.sandbox], network)).toMatchObject({ status: 0, stderr: '' })
  }
  const outcomes = async (...args: string[]): Promise<Outcome[]> => {
    const { stdout } = await call(['reconcile', '--json', ...args])
    return JSON.parse(stdout) as Outcome[]
  }
  return { host, call, add, outcomes }
}

/** The rule set without what numbers and counts. */
const ruleset = async (host: PrivateHost): Promise<string> =>
  (await host.must('nft', ['-s', 'list', 'ruleset'])).replaceAll(/ # handle \d+/g, '')

it('makes masquerade and the MAC spoof check again after a flush, once', async () => {
  const { host, call, add, outcomes } = await onHost()
  const blue = await host.container('blue')
  const red = await host.container('red')
  await add(blue, bridged)
  await add(red, routed)
  const before = await ruleset(host)
  expect(await call(['reconcile'])).toMatchObject({
    status: 0,
    stdout: '2 attachments, 0 repaired, 0 failed\n',
    stderr: '',
  })
  await host.must('nft', ['flush', 'ruleset'])
  expect((await call(['check', '-', blue.sandbox], bridged)).status).toBe(1)
  expect((await call(['check', '-', red.sandbox], routed)).status).toBe(1)
  const repaired = await outcomes()
  expect(repaired.map(({ network, repairs }) => [network, repairs.map(({ type }) => type)])).toEqual([
    ['net', ['bridge']],
    ['wires', ['ptp']],
  ])
  expect(repaired.flatMap(({ errors }) => errors)).toEqual([])
  expect((await ruleset(host)).split('\n').sort()).toEqual(before.split('\n').sort())
  expect(await call(['check', '-', blue.sandbox], bridged)).toMatchObject({ status: 0, stderr: '' })
  expect(await call(['check', '-', red.sandbox], routed)).toMatchObject({ status: 0, stderr: '' })
  expect((await call(['reconcile'])).stdout).toBe('2 attachments, 0 repaired, 0 failed\n')
  expect((await call(['del', '-', blue.sandbox], bridged)).status).toBe(0)
  expect((await call(['del', '-', red.sandbox], routed)).status).toBe(0)
  expect(await ruleset(host)).not.toMatch(/saddr/)
})

it('makes port mappings and firewall rules again, by whatever backend', async () => {
  const { host, call, outcomes } = await onHost()
  const mappings = { portMappings: [{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }] }
  const behind = (backend: string): JsonObject[] => [
    {
      ...{ type: 'bridge', bridge: `cni-${backend}`, isGateway: true },
      ipam: { type: 'host-local', subnet: backend === 'iptables' ? '10.24.0.0/16' : '10.25.0.0/16' },
    },
    { type: 'portmap', backend, snat: true, capabilities: { portMappings: true } },
    { type: 'firewall', backend, ingressPolicy: 'same-bridge' },
  ]
  const networks = ['nftables', 'iptables'].map((backend) => list(`by-${backend}`, ...behind(backend)))
  const containers = [await host.container('blue'), await host.container('red')]
  for (const [i, network] of networks.entries()) {
    const ports = mappings.portMappings.map((one) => ({ ...one, hostPort: one.hostPort + i }))
    const options = ['--capability-args', JSON.stringify({ portMappings: ports })]
    const added = await call(['add', '-', containers[i]!.sandbox, ...options], network)
    expect(added).toMatchObject({ status: 0, stderr: '' })
  }
  const lines = async () =>
    (await ruleset(host)).replaceAll(/counter packets \d+ bytes \d+/g, 'counter').split('\n')
  const before = (await lines()).sort()
  expect(before.join('\n')).toMatch(/8080[\s\S]*8081/)
  await host.must('nft', ['flush', 'ruleset'])
  const repaired = await outcomes()
  expect(repaired.map(({ network, repairs }) => [network, repairs.map(({ type }) => type)])).toEqual([
    ['by-iptables', ['portmap', 'firewall']],
    ['by-nftables', ['portmap', 'firewall']],
  ])
  expect(repaired.flatMap(({ errors }) => errors)).toEqual([])
  expect((await lines()).sort()).toEqual(before)
  expect((await call(['reconcile'])).stdout).toBe('2 attachments, 0 repaired, 0 failed\n')
  for (const [i, network] of networks.entries())
    expect((await call(['del', '-', containers[i]!.sandbox], network)).status).toBe(0)
  expect(await ruleset(host)).not.toMatch(/10\.2[45]\.|8080|8081/)
})

it('makes again what a single rule says, and tells it', async () => {
  const { host, call, add } = await onHost()
  const blue = await host.container()
  await add(blue, routed)
  await host.must('nft', ['flush', 'chain', 'inet', 'cni_plugins_masquerade', 'postrouting'])
  const { status, stdout } = await call(['reconcile', 'wires'])
  expect(status).toBe(0)
  expect(stdout).toMatch(
    /^wires cnitool-\w+ eth0: ptp: made again: .* postrouting\n1 attachments, 1 repaired, 0 failed\n$/,
  )
  expect(await call(['reconcile', 'typo'])).toMatchObject({
    status: 1,
    stdout: '',
    stderr: expect.stringMatching(
      /^linkwright: there is no attachment to typo in the cache, and no net conf/,
    ),
  })
  // A network need not have attachments.
  await host.must('sh', ['-ec', 'mkdir /run/conf && cat > /run/conf/10-other.conflist'], {
    input: list('other', { type: 'ptp' }),
  })
  const env = { ...plainEnv, NETCONFPATH: '/run/conf' }
  expect(await host.run(process.execPath, [linkwright, 'reconcile', 'other'], { env })).toMatchObject({
    status: 0,
    stdout: '0 attachments, 0 repaired, 0 failed\n',
    stderr: '',
  })
})

it('leaves alone what no longer runs', async () => {
  const { host, add, outcomes } = await onHost()
  const gone = await host.container('gone')
  const unplugged = await host.container('unplugged')
  const other = await host.container('other')
  for (const container of [gone, unplugged, other]) await add(container, bridged)
  await gone.close()
  await unplugged.ip('link', 'del', 'eth0')
  await other.ip('addr', 'flush', 'dev', 'eth0')
  await other.ip('addr', 'add', '10.99.0.1/16', 'dev', 'eth0')
  await host.must('nft', ['flush', 'ruleset'])
  const skipped = (await outcomes()).map((one) => one.skipped)
  expect(skipped.sort()).toEqual([
    'eth0 has none of the addresses of the result',
    expect.stringContaining('failed to open netns "/run/netns/gone"'),
    'there is no interface eth0 in the container',
  ])
  expect(await ruleset(host)).not.toMatch(/saddr/)
})

it('goes on after an attachment whose cached configuration is broken', async () => {
  const { host, call, add, outcomes } = await onHost()
  const blue = await host.container('blue')
  const red = await host.container('red')
  await add(blue, bridged)
  await add(red, routed)
  const script = `cd /var/lib/cni/results; sed -i 's/"config":"[^"]*"/"config":"e30="/' net-*; echo nonsense >a-file`
  await host.must('sh', ['-c', script])
  await host.must('nft', ['flush', 'ruleset'])
  const [broken, whole] = await outcomes()
  expect(broken).toMatchObject({ network: 'net', repairs: [], errors: [{ code: 7 }] })
  expect(whole).toMatchObject({ network: 'wires', repairs: [{ type: 'ptp' }], errors: [] })
  const { status, stderr } = await call(['reconcile'])
  expect(status).toBe(1)
  const [file, error] = stderr.split('\n')
  expect(file).toMatch(/results\/a-file stands for an attachment that is not looked at: it holds no JSON$/)
  expect(error).toMatch(/^linkwright: net cnitool-\w+ eth0: error parsing configuration/)
})

it('does not bring back what was deleted meanwhile', async () => {
  const it = await node()
  const container = await it.host.container()
  const cacheDir = it.host.file(defaultCacheDir)
  const text = list('net', { type: 'dummy-of-this-test' })
  const calls: string[] = []
  const own = definePlugin({
    type: 'dummy-of-this-test',
    kind: 'interface',
    versions: ['1.0.0'],
    conf: z.object(commonConf),
    add: async () => ({ interfaces: [{ name: 'lo', sandbox: container.path }] }),
    check: async () => {},
    del: async () => void calls.push('DEL'),
    repair: async ({ network, containerId, ifName }) => {
      calls.push('repair')
      // As the end of a DEL that another process has begun before.
      removeCache(cacheDir, { network, containerId, ifName })
      return ['a rule']
    },
  })
  const host = {
    plugins: new Map<string, AnyPlugin>([...plugins, [own.type, own]]),
    hostNetns: it.netns,
  }
  const target = { containerId: 'cid', ifName: 'lo', netnsPath: container.path }
  await runChain({ verb: 'ADD', network: parseConfList(text), host, cacheDir, ...target })
  expect(listCache(cacheDir).entries).toHaveLength(1)
  expect(await reconcile({ host, cacheDir })).toEqual([
    {
      network: 'net',
      containerId: 'cid',
      ifName: 'lo',
      repairs: [],
      skipped: 'it was deleted meanwhile',
      errors: [],
    },
  ])
  expect(calls).toEqual(['repair', 'DEL'])
})
