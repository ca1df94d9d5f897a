/** The Go plugin sbr, and ours: the same results, rules and tables, and each ends what the other began. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { everything, resultOf, rulesOf, twoNetworks, wires } from '../kernel/plugins/sbr.ts'
import { binDirs, type PluginRun, runPlugin } from '../support/plugin.ts'
import { comparedOf, goDir, mustPeerOf } from './bridge/sides.ts'

const [eth0, net1] = wires

interface Played {
  readonly runs: readonly unknown[]
  readonly rules: readonly string[]
  readonly routes: readonly string[]
}

const scene = async () => {
  const { it, container } = await twoNetworks()
  await container.must('sh', ['-ec', 'ip route add 198.51.100.0/24 via 10.2.0.1 metric 7 mtu 1300'])
  const call = (binDir: string, command: string, own: typeof eth0, conf: JsonObject): Promise<PluginRun> => {
    const interfaces = [{ name: own.ifName, sandbox: container.sandbox }]
    const prevResult = { ...resultOf(container, own, { interfaces }), cniVersion: '1.0.0' }
    return runPlugin({
      ...{ host: it.host, binDir, type: 'sbr', command, netns: container, ifName: own.ifName },
      conf: { cniVersion: '1.0.0', name: 'net', type: 'sbr', prevResult: prevResult as never, ...conf },
    })
  }
  return { container, call }
}

/**
 * What differs on purpose: Go puts IPv6 routes without a gateway into the tables of IPv4 addresses, too, and takes the
 * link-local route away.
 */
const comparable = ({ rules, routes }: Awaited<ReturnType<typeof everything>>) => ({
  rules,
  routes: routes.filter(
    (line) =>
      !line.startsWith('fe80:') &&
      !/ table local/.test(line) &&
      !(line.includes(':') && / table (100|102)\b/.test(line)),
  ),
})

const play = async (binDir: string, conf: JsonObject): Promise<Played> => {
  const { container, call } = await scene()
  const runs: unknown[] = []
  for (const own of [eth0, net1]) {
    const { status, result, error } = await call(binDir, 'ADD', own, conf)
    // Debian's Go plugins print a dns that is empty.
    runs.push({ status, result: { dns: {}, ...result }, error })
  }
  const { rules, routes } = comparable(await everything(container))
  for (const command of ['CHECK', 'DEL', 'DEL'])
    for (const own of [eth0, net1]) {
      const { status, error } = await call(binDir, command, own, conf)
      runs.push({ command, status, error })
    }
  expect(await rulesOf(container)).toEqual([])
  return { runs, rules, routes }
}

const scenarios = comparedOf([
  { title: 'a table for each address', conf: { type: 'sbr' } },
  // Debian's plugin of 2022 has no such key.
  { title: 'a table that is given', conf: { type: 'sbr', table: 77 }, newer: true },
])

test.each(scenarios)('both do the same: $title', async (scenario) => {
  const { conf } = scenario
  const [go, ours] = await Promise.all([play(mustPeerOf(scenario), conf), play(binDirs.ours, conf)])
  expect(ours.runs).toEqual(go.runs)
  expect(ours.rules).toEqual(go.rules)
  expect([...ours.routes].sort()).toEqual([...go.routes].sort())
})

describe('what one implementation began, the other ends', () => {
  const swaps: [string, string][] = [
    [goDir, binDirs.ours],
    [binDirs.ours, goDir],
  ]
  test.each(swaps)('%s, %s', async (begins, ends) => {
    const { container, call } = await scene()
    for (const [own, binDir] of [
      [eth0, begins],
      [net1, ends],
    ] as const)
      expect((await call(binDir, 'ADD', own, {})).error).toBeNull()
    expect((await rulesOf(container)).length).toBe(4)
    for (const own of [eth0, net1]) {
      expect((await call(ends, 'CHECK', own, {})).error).toBeNull()
      expect((await call(binDirs.ours, 'CHECK', own, {})).error).toBeNull()
      expect((await call(ends, 'DEL', own, {})).error).toBeNull()
    }
    expect(await rulesOf(container)).toEqual([])
  })
})

test('both refuse the same, in the same words', async () => {
  const { call } = await scene()
  const bare = { prevResult: null }
  const empty = { prevResult: { cniVersion: '1.0.0', interfaces: [{ name: 'net1' }], ips: [] } }
  for (const conf of [bare, empty]) {
    const [go, ours] = [await call(goDir, 'ADD', net1, conf), await call(binDirs.ours, 'ADD', net1, conf)]
    expect(go.status).toBe(1)
    expect(ours.error?.msg).toBe(go.error?.msg)
  }
})
