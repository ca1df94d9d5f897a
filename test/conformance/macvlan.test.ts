import { expect, test } from 'vitest'
import { binDirs } from '../support/plugin.ts'
import { type Compared, comparable } from './bridge/compare.ts'
import { comparedOf, isNewFor, mustPeerOf, play, side } from './bridge/sides.ts'
import { type MacvlanScenario, scenarios } from './macvlan/scenarios.ts'

const playOne = async (dir: string, scenario: MacvlanScenario): Promise<Compared> => {
  const on = await side(dir)
  await scenario.inside?.(await on.container('blue'))
  return comparable(await play(on, scenario), scenario)
}

/** Deliberate differences; docs/differences.md tells them to users. */
const isOurOwn = (sysctl: unknown, isNew: boolean): boolean =>
  // Others are on the segment, so IPv6 addresses are probed, whatever the namespace's default says; Go's are if it does.
  /^ipv6\/conf\/eth0\/(accept|enhanced)_dad=/.test(String(sysctl)) ||
  // Go announces IPv6 addresses since 1.2.
  (!isNew && sysctl === 'ipv6/conf/eth0/ndisc_notify=1')

/** Go sets a transmit queue of length 0 by accident. The operational state is told a moment later, by a work queue. */
const steady = (link: unknown): unknown => {
  const { txqlen, operstate, ...more } = link as Record<string, unknown> & {
    linkinfo?: { info_kind?: string }
  }
  return more.linkinfo?.info_kind === 'macvlan' ? more : link
}

const withoutDifferences = ({ states, ...more }: Compared, isNew: boolean): Compared => ({
  ...more,
  states: Object.fromEntries(
    Object.entries(states).map(([when, state]) => [
      when,
      {
        ...state,
        links: (state.links ?? []).map(steady),
        sysctls: (state.sysctls ?? []).filter((sysctl) => !isOurOwn(sysctl, isNew)),
      },
    ]),
  ),
})

test.each(comparedOf(scenarios))('$title', async (scenario) => {
  const [go, ours] = await Promise.all(
    [mustPeerOf(scenario), binDirs.ours].map(async (dir) =>
      withoutDifferences(await playOne(dir, scenario), isNewFor(scenario)),
    ),
  )
  for (const [step, run] of Object.entries(ours!.runs)) expect([step, run.error]).toEqual([step, null])
  expect(ours).toEqual(go)
})
