import { describe, expect, test } from 'vitest'
import { type Compared, playBoth } from './bridge/compare.ts'
import { scenarios } from './bridge/scenarios.ts'
import { comparedOf } from './bridge/sides.ts'

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
  test.each(comparedOf(scenarios))('$title', async (scenario) => {
    const { go, ours } = await playBoth(scenario)
    for (const [step, run] of Object.entries(ours.runs)) expect([step, run.error]).toEqual([step, null])
    const adds = Object.entries(go.runs).filter(([step]) => step.startsWith('ADD'))
    if (adds.some(([, { error }]) => isOneOf(brokenAdds, error))) return
    for (const [step, run] of Object.entries(go.runs))
      if (step.startsWith('CHECK') && isOneOf(brokenChecks, run.error)) go.runs[step] = ours.runs[step]!
    expect(ours).toEqual(go)
  })
})
