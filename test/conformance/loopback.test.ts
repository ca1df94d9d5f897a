import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../cni/types.ts'
import { binDirs, type PluginRun } from '../support/plugin.ts'
import type { Container } from '../support/space.ts'
import { goDir, goVersions, side } from './bridge/sides.ts'

/** The interface and its addresses, and what each verb said. */
const play = async (binDir: string, conf: JsonObject, prepare?: (container: Container) => Promise<void>) => {
  const on = await side(binDir)
  const container = await on.container('blue')
  await prepare?.(container)
  const runs: Record<string, Pick<PluginRun, 'status' | 'result' | 'error'>> = {}
  const states: Record<string, string> = {}
  for (const step of ['ADD', 'CHECK', 'DEL', 'CHECK again', 'DEL again']) {
    const { result } = runs.ADD ?? {}
    const own = step === 'ADD' || !result ? {} : { prevResult: result as never }
    const command = step.split(' ')[0]!
    const run = await on.run(command, { container: 'blue', conf: own }, { type: 'loopback', ...conf })
    runs[step] = { status: run.status, result: run.result, error: run.error }
    states[step] = await container.must('ip', ['address', 'show'])
  }
  return { runs, states }
}

/** Results of 1.1.0 tell MTUs, and Go prints no empty dns since 1.3; errors tell their version and what to do. */
const comparable = ({ runs, states }: Awaited<ReturnType<typeof play>>) => ({
  states,
  runs: Object.fromEntries(
    Object.entries(runs).map(([step, { status, result, error }]) => [
      step,
      {
        status,
        error: error && { code: error.code, msg: error.msg },
        interfaces: result?.interfaces?.map(({ mtu, ...one }) =>
          result.cniVersion === '1.1.0' ? one : { mtu, ...one },
        ),
        ips: result?.ips,
        dns: Object.keys(result?.dns ?? {}).length > 0 ? result?.dns : undefined,
      },
    ]),
  ),
})

const both = async (conf: JsonObject, prepare?: (container: Container) => Promise<void>) => {
  const [go, ours] = await Promise.all(
    [goDir, binDirs.ours].map(async (dir) => comparable(await play(dir, conf, prepare))),
  )
  return { go: go!, ours: ours! }
}

describe('loopback', () => {
  // Before 1.0.0 Go prints results of another version's shape.
  test.each(goVersions.filter((version) => version >= '1.0.0'))('of %s', async (cniVersion) => {
    const { go, ours } = await both({ cniVersion })
    expect(ours).toEqual(go)
    expect(ours.runs.ADD?.ips).toHaveLength(2)
  })

  test.each(goVersions.filter((version) => version < '1.0.0'))(
    'of %s, whose results are of its own shape',
    async (cniVersion) => {
      const { go, ours } = await both({ cniVersion })
      expect(ours.states).toEqual(go.states)
      const statuses = ({ runs }: typeof go) =>
        Object.entries(runs).map(([step, { status }]) => [step, status])
      expect(statuses(ours)).toEqual(statuses(go))
      const { result } = (await play(binDirs.ours, { cniVersion })).runs.ADD!
      if (cniVersion < '0.3.0')
        expect(result).toMatchObject({ ip4: { ip: '127.0.0.1/8' }, ip6: { ip: '::1/128' } })
      else expect(result?.ips?.map(({ version }) => version)).toEqual(['4', '6'])
    },
  )

  test.each<[string, JsonObject, ((container: Container) => Promise<void>)?]>([
    ['with a result to pass on', { prevResult: { cniVersion: '1.0.0', ips: [{ address: '10.1.0.5/16' }] } }],
    ['up already', {}, (container) => container.ip('link', 'set', 'lo', 'up')],
    [
      'without IPv6',
      {},
      async (container) => {
        await container.must('sh', ['-c', 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'])
      },
    ],
  ])('%s', async (_title, conf, prepare) => {
    const { go, ours } = await both(conf, prepare)
    expect(ours).toEqual(go)
  })

  test.each(['10.9.9.9/32', 'fd00::9/128'])('with %s, which makes Go leave lo up', async (address) => {
    const { go, ours } = await both({}, (container) => container.ip('address', 'add', address, 'dev', 'lo'))
    expect(ours.runs.ADD).toEqual(go.runs.ADD)
    expect(ours.runs.ADD?.error?.msg).toBe(
      `loopback interface found with non-loopback address "${address.split('/')[0]}"`,
    )
    expect(go.states.ADD).toContain('state UNKNOWN')
    expect(ours.states.ADD).not.toContain('state UNKNOWN')
  })

  test('with a result of another version', async () => {
    const { go, ours } = await both({ prevResult: { cniVersion: '0.2.0' } })
    for (const { runs } of [go, ours])
      expect(runs.ADD?.error?.msg).toContain('could not parse prevResult: result type supports')
    // Ours is found out before anything is touched.
    expect(ours.states.ADD).toContain('state DOWN')
  })
})
