/** The Go bridge plugin and ours with VLANs. */
import { expect, test } from 'vitest'
import { playBoth } from '../../conformance/bridge/compare.ts'
import { comparedOf, type Scenario } from '../../conformance/bridge/sides.ts'

const ipam = { type: 'static', addresses: [{ address: '10.9.0.5/24' }] }
const scenarios: Scenario[] = [
  // Go's of 2022 keep the default VLAN, newer ones unless they are told to.
  { title: 'vlan', conf: { vlan: 100, preserveDefaultVlan: true } },
  { title: 'vlan without the default one', conf: { vlan: 100 }, newer: true },
  { title: 'trunk', conf: { vlanTrunk: [{ id: 7 }, { minID: 200, maxID: 204 }] }, newer: true },
  { title: 'both', conf: { vlan: 100, vlanTrunk: [{ minID: 200, maxID: 204 }] }, newer: true },
  { title: 'a gateway', conf: { vlan: 100, isGateway: true, ipam }, newer: true },
]

test.each(comparedOf(scenarios))('$title', async (scenario) => {
  const { go: theirs, ours: own } = await playBoth(scenario)
  for (const [step, run] of Object.entries(own.runs)) {
    expect([step, run.error]).toEqual([step, null])
    // Without IPAM Go's CHECK always fails.
    if (step.startsWith('CHECK') && theirs.runs[step]?.error?.msg === 'no plugin name provided')
      theirs.runs[step] = run
  }
  expect(own).toEqual(theirs)
})
