/** bandwidth and the Go plugins of the same name, old and new: results, what `tc` shows, and each ends what the other began. */
import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PluginRun, type PrintedResult, runPlugin } from '../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../support/space.ts'

const peers = [binDirs.go, binDirs.goNewer].filter((dir) => existsSync(`${dir}/bandwidth`))

/** A container on a wire, the same for each side. */
class Side {
  readonly host: PrivateHost
  readonly container: Container
  readonly prevResult: JsonObject

  constructor(host: PrivateHost, container: Container) {
    this.host = host
    this.container = container
    this.prevResult = {
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'veth9', mac: '02:00:00:00:00:09' },
        { name: 'eth0', mac: '02:00:00:00:00:05', sandbox: container.sandbox },
      ],
      ips: [{ address: '10.9.0.5/24', gateway: '10.9.0.1', interface: 1 }],
    }
  }

  run(
    binDir: string,
    command: string,
    conf: JsonObject,
    prevResult: unknown = this.prevResult,
  ): Promise<PluginRun> {
    return runPlugin({
      host: this.host,
      binDir,
      type: 'bandwidth',
      command,
      netns: this.container,
      conf: {
        cniVersion: '1.0.0',
        name: 'net',
        type: 'bandwidth',
        ...conf,
        ...(prevResult ? { prevResult } : {}),
      },
    })
  }

  /** What `tc` shows of the links, and the IFBs. */
  async state(): Promise<unknown> {
    const { host } = this
    const script = [
      'tc -d qdisc show',
      'for dev in veth9 $(ip -o link show type ifb | cut -d: -f2); do',
      '  echo; tc filter show dev $dev ingress; tc class show dev $dev',
      'done',
    ]
    const text = await host.must('sh', ['-ec', script.join('\n')])
    const ifbs = (await host.ipJson('-d', 'link', 'show', 'type', 'ifb')).map(
      // Its alias says whose it is; its index and its MAC are by chance. It needs no address of IPv6.
      ({ ifindex, address, ifalias, inet6_addr_gen_mode, ...more }) => more,
    )
    const lines = text
      .split('\n')
      // Go's library gives the redirection twice, of which the second is never reached.
      .filter((line) => !/^\s*(action order 2:|index \d+ ref|$)/.test(line))
      // What the rate is counted on: unspecified is Ethernet, too.
      .map((line) => line.trim().replace(/ linklayer \w+$/, ''))
    // The order of the links is that of their indices.
    return { lines: lines.sort(), ifbs }
  }
}

const side = async (): Promise<Side> => {
  const host = await privateHost()
  const container = await host.container()
  const ends = [
    'ip link add veth9 address 02:00:00:00:00:09 mtu 1400 up type veth',
    `peer name eth0 address 02:00:00:00:00:05 mtu 1400 netns ${container.pid}`,
  ]
  await host.must('sh', ['-ec', ends.join(' ')])
  await container.ip('link', 'set', 'eth0', 'up')
  return new Side(host, container)
}

/** Names and MACs are compared but for what is by chance. */
const steady = (result: PrintedResult | null): unknown =>
  result && {
    ...result,
    interfaces: result.interfaces?.map((one) => (one.name.startsWith('bwp') ? { ...one, mac: 'MAC' } : one)),
    // Left out of results of 1.x where it is empty; Go does so since 1.3.
    dns: undefined,
  }

const both = {
  ingressRate: 16_000_000,
  ingressBurst: 800_000,
  egressRate: 8_000_000,
  egressBurst: 400_000,
} as const

const scenarios: [title: string, conf: JsonObject][] = [
  ['both directions', both],
  ['into the container', { ingressRate: 3_000_001, ingressBurst: 77_777 }],
  ['out of the container', { egressRate: 123, egressBurst: 456 }],
  ['of a runtime', { runtimeConfig: { bandwidth: both } }],
  ['a static key before the runtime', { egressRate: 0, runtimeConfig: { bandwidth: both } }],
  ['keys of any case', { IngressRate: 8_000_000, ingressburst: 80_000 }],
  ['rates beyond 32 bits', { ingressRate: 48_000_000_000, ingressBurst: 8_000_000_000 }],
  ['nothing', {}],
  ['zeros', { ingressRate: 0, ingressBurst: 0 }],
  ['0.3.1', { ...both, cniVersion: '0.3.1' }],
]

/** What comes before, in the version of the configuration. */
const before = (on: Side, { cniVersion }: JsonObject): JsonObject =>
  cniVersion === '0.3.1'
    ? { ...on.prevResult, cniVersion, ips: [{ version: '4', address: '10.9.0.5/24', interface: 1 }] }
    : on.prevResult

const refusals: [title: string, conf: JsonObject][] = [
  ['no burst', { ingressRate: 8 }],
  ['no rate', { egressBurst: 8 }],
  ['a burst of more than 4 GB', { egressRate: 8, egressBurst: 34_359_738_360 }],
]

const name = (dir: string): string => (dir === binDirs.go ? "Debian's" : 'newer')

describe.each(peers.map((dir) => [name(dir), dir] as const))('%s', (_name, dir) => {
  test.each(scenarios)('%s', async (_title, conf) => {
    const [theirs, ours] = await Promise.all([side(), side()])
    const played = async (on: Side, binDir: string) => {
      const add = await on.run(binDir, 'ADD', conf, before(on, conf))
      expect(add.error).toBeNull()
      const state = await on.state()
      if (conf.cniVersion !== '0.3.1')
        expect((await on.run(binDir, 'CHECK', conf, add.result)).error).toBeNull()
      expect((await on.run(binDir, 'DEL', conf, add.result)).error).toBeNull()
      expect(await on.host.ipJson('link', 'show', 'type', 'ifb')).toEqual([])
      return { result: steady(add.result), state }
    }
    const [go, own] = await Promise.all([played(theirs, dir), played(ours, binDirs.ours)])
    expect(own).toEqual(go)
  })

  test.each(refusals)('both refuse: %s', async (_title, conf) => {
    const [theirs, ours] = await Promise.all([side(), side()])
    const go = await theirs.run(dir, 'ADD', conf)
    const own = await ours.run(binDirs.ours, 'ADD', conf)
    expect([own.status, own.error?.msg]).toEqual([go.status, go.error?.msg])
  })

  test.each(scenarios.slice(0, 4))('each ends what the other began: %s', async (_title, conf) => {
    const [first, second] = await Promise.all([side(), side()])
    const byGo = await first.run(dir, 'ADD', conf)
    expect((await first.run(binDirs.ours, 'CHECK', conf, byGo.result)).error).toBeNull()
    expect((await first.run(binDirs.ours, 'DEL', conf, null)).error).toBeNull()
    const byUs = await second.run(binDirs.ours, 'ADD', conf)
    expect((await second.run(dir, 'CHECK', conf, byUs.result)).error).toBeNull()
    expect((await second.run(dir, 'DEL', conf, null)).error).toBeNull()
    for (const on of [first, second]) {
      expect(await on.host.ipJson('link', 'show', 'type', 'ifb')).toEqual([])
      // With the veth goes what is left on it, and another attachment can be made.
      await on.host.ip('link', 'del', 'veth9')
      expect(await on.host.must('tc', ['qdisc', 'show'])).not.toMatch(/tbf|ingress/)
    }
  })
})
