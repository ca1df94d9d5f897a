/** Debian's Go plugins have no tap: newer ones do. */
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { binDirs } from '../support/plugin.ts'
import { type Compared, playBoth } from './bridge/compare.ts'
import { comparedOf } from './bridge/sides.ts'
import { swaps } from './bridge/swap.ts'
import { scenarios } from './tap/scenarios.ts'

interface Shown extends Record<string, unknown> {
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: Record<string, unknown> }
}

/** That a device nobody has open has no signal is told a moment later, by a work queue. */
const withoutSignal = (flags: unknown): string[] =>
  (flags as string[]).filter((flag) => !['NO-CARRIER', 'LOWER_UP', 'linkdown'].includes(flag))

/** Deliberate differences; docs/differences.md tells them to users. */
const steady = (link: unknown): unknown => {
  const { operstate, ...more } = link as Shown
  if (more.linkinfo?.info_kind !== 'tun') return link
  // With owner and group Go asks for headers; each program that opens the device says by itself what it wants.
  const { vnet_hdr, pi, ...data } = more.linkinfo.info_data ?? {}
  return { ...more, flags: withoutSignal(more.flags), linkinfo: { info_kind: 'tun', info_data: data } }
}

const withoutDifferences = ({ states, ...more }: Compared): Compared => ({
  ...more,
  states: Object.fromEntries(
    Object.entries(states).map(([when, state]) => [
      when,
      {
        ...state,
        links: (state.links ?? []).map(steady),
        routes: (state.routes ?? []).map((route) => {
          const shown = route as Shown
          return { ...shown, flags: withoutSignal(shown.flags) }
        }),
        // IPAM's addresses are not probed: nobody is behind the device yet.
        sysctls: (state.sysctls ?? []).filter((line) => !/^ipv6\/conf\/eth0\/accept_dad=/.test(String(line))),
      },
    ]),
  ),
})

test.each(comparedOf(scenarios))('$title', async (scenario) => {
  const { go, ours } = await playBoth(scenario)
  for (const [step, run] of Object.entries(ours.runs)) expect([step, run.error]).toEqual([step, null])
  expect(withoutDifferences(ours)).toEqual(withoutDifferences(go))
})

swaps(comparedOf(scenarios).filter(({ title }) => title === 'two containers'))

test('all are compared where the newer plugins are; npm test says so where not', () => {
  const compared = comparedOf(scenarios).length
  expect(compared).toBe(existsSync(binDirs.goNewer) || compared > 0 ? scenarios.length : 0)
})
