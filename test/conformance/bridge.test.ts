import { describe, expect, test } from 'vitest'
import { binDirs } from '../support/plugin.ts'
import { type Compared, comparable } from './bridge/compare.ts'
import { refused, scenarios } from './bridge/scenarios.ts'
import { goDir, isNew, play, type Scenario, side } from './bridge/sides.ts'

const playBoth = async (scenario: Scenario) => {
  const [go, ours] = await Promise.all(
    [goDir, binDirs.ours].map(async (dir) => comparable(await play(await side(dir), scenario), scenario)),
  )
  return { go: go!, ours: ours! }
}

/** Where Go's CHECK fails on what Go's ADD has just made. Ours has to succeed there. */
const brokenChecks = [
  // Without IPAM: IPAM's CHECK is called all the same.
  /^no plugin name provided$/,
  // Routes are looked for as they are written, not as the kernel keeps them, and in the main table only.
  /^Expected Route .* not found in routing table$/,
  // A /32 has no route to its subnet.
  /^Failed to find Gateway <nil> for interface eth0$/,
]
/** Where Go's ADD fails on a configuration that makes sense. */
const brokenAdds = [
  // isDefaultGateway adds the route that IPAM has named already.
  /^failed to add route '\{0\.0\.0\.0 .*\} via 10\.9\.0\.1 dev eth0.*': file exists$/,
  // The gateway of a network's second subnet is in the way of that of the first.
  /^failed to set bridge addr: "cni0" already has an IP address different from 172\.20\.0\.1\/16$/,
  // A destination with host bits.
  /^failed to add route '\{192\.168\.5\.7 ffff0000\} via 10\.9\.0\.7 dev eth0.*': invalid argument$/,
]

const isOneOf = (
  patterns: readonly RegExp[],
  error: Compared['runs'][string]['error'] | undefined,
): boolean => patterns.some((pattern) => pattern.test(String(error?.msg)))

describe('what both do', () => {
  test.each(scenarios.filter(({ newer }) => isNew || !newer))('$title', async (scenario) => {
    const { go, ours } = await playBoth(scenario)
    for (const [step, run] of Object.entries(ours.runs)) expect([step, run.error]).toEqual([step, null])
    const adds = Object.entries(go.runs).filter(([step]) => step.startsWith('ADD'))
    if (adds.some(([, { error }]) => isOneOf(brokenAdds, error))) return
    for (const [step, run] of Object.entries(go.runs))
      if (step.startsWith('CHECK') && isOneOf(brokenChecks, run.error)) go.runs[step] = ours.runs[step]!
    expect(ours).toEqual(go)
  })
})

describe('what both refuse', () => {
  test.each(refused)('$title', async ({ ours: words, delFails = false, ...scenario }) => {
    const { go, ours } = await playBoth(scenario)
    const failed = Object.entries(go.runs).filter(([step, run]) => step.startsWith('ADD') && run.status !== 0)
    expect(failed.length).toBeGreaterThan(0)
    for (const [step, { status, error }] of failed) {
      const own = ours.runs[step]!
      expect(own.status).toBe(status)
      // Most errors of Go's are 999.
      if (error?.code !== 999) expect(own.error?.code).toBe(error?.code)
      if (words) expect(own.error?.msg).toMatch(words)
      // The oldest end one of their sentences with a full stop.
      else expect(own.error?.msg).toBe(String(error?.msg).replace(/\.$/, '').replaceAll(goDir, binDirs.ours))
    }
    for (const [step, run] of Object.entries(ours.runs))
      if (step.startsWith('DEL')) expect([step, run.status]).toEqual([step, delFails ? 1 : 0])
  })
})
