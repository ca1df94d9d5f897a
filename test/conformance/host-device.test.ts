import { describe, expect, test } from 'vitest'
import { binDirs } from '../support/plugin.ts'
import { type Compared, comparable } from './bridge/compare.ts'
import { comparedOf, mustPeerOf, play, type Scenario, type Side, side } from './bridge/sides.ts'
import { scenarios } from './host-device/scenarios.ts'

const swapped = comparedOf(scenarios)

/** When the wire hears that its other end is down, and where that is then, is by chance. */
const steady = ({ states, ...more }: Compared): Compared => ({
  ...more,
  states: Object.fromEntries(
    Object.entries(states).map(([when, { links = [], sysctls = [], ...state }]) => {
      const kept = links.map((link) => {
        const { operstate, flags, ...facts } = link as Record<string, unknown>
        return facts.ifname === 'wire0' ? facts : link
      })
      // Others are on the segment, so IPv6 addresses are probed, whatever the namespace's default says; Go's if it does.
      const own = sysctls.filter((name) => !/^ipv6\/conf\/eth0\/(accept|enhanced)_dad=/.test(String(name)))
      return [when, { ...state, links: kept, sysctls: own }]
    }),
  ),
})

describe('what both do', () => {
  test.each(swapped)('$title', async (scenario) => {
    const [go, ours] = await Promise.all(
      [mustPeerOf(scenario), binDirs.ours].map(async (dir) =>
        steady(comparable(await play(await side(dir), scenario), scenario)),
      ),
    )
    for (const [step, run] of Object.entries(ours!.runs)) {
      expect([step, run.error]).toEqual([step, null])
      // A second DEL finds nothing, which is no error here.
      if (step.startsWith('DEL again') && go!.runs[step]?.status !== 0) {
        expect(go!.runs[step]?.error?.msg).toMatch(/failed to find "\w+"/)
        go!.runs[step] = run
      }
    }
    expect(ours).toEqual(go)
  })
})

const linksOf = async ({ host }: Side): Promise<string[]> =>
  (await host.must('ip', ['-o', 'link'])).split('\n').map((line) =>
    line
      .replace(/^\d+: /, '')
      .replace(/NO-CARRIER,|,LOWER_UP|,M-DOWN/g, '')
      .replace(/ qdisc \w+ state \w+/, '')
      // The Go plugin of 2022 leaves it.
      .replace(/\\ +alias (hd0|wire0)$/, ''),
  )

const attached = async (scenario: Scenario, binDir: string) => {
  const on = await side(binDir)
  await scenario.prepare?.(on.host)
  const before = await linksOf(on)
  const made = []
  for (const attachment of scenario.attachments ?? [{ container: 'blue' }]) {
    const run = await on.run('ADD', attachment, scenario.conf)
    expect(run.error).toBeNull()
    made.push({
      attachment,
      after: { ...attachment, conf: { ...attachment.conf, prevResult: run.result as never } },
    })
    const [link] = await on.containers
      .get(attachment.container)!
      .ipJson('link', 'show', attachment.ifName ?? 'eth0')
    expect(link?.ifalias).toBe(attachment.conf?.device ?? 'hd0')
  }
  return { on, before, made, checks: String(scenario.conf.cniVersion ?? '1.0.0') >= '0.4.0' }
}

const moving = swapped.filter(({ title, newer }) => !newer && !/^(0\.[124]|0\.3\.0)/.test(title))

describe("ours after Go's", () => {
  test.each(moving)('$title', async (scenario) => {
    const { on, before, made, checks } = await attached(scenario, mustPeerOf(scenario))
    for (const { after } of made) {
      if (checks) expect((await on.run('CHECK', after, scenario.conf, binDirs.ours)).error).toBeNull()
      expect((await on.run('DEL', after, scenario.conf, binDirs.ours)).error).toBeNull()
    }
    expect(await linksOf(on)).toEqual(before)
  })

  // Where the configuration tells the device by what its link knows: a veth knows no bus.
  const told = moving.filter(({ title }) => !/PCI|deviceID|path/.test(title))
  test.each(told)('$title, without the result', async (scenario) => {
    const { on, before, made } = await attached(scenario, mustPeerOf(scenario))
    for (const { attachment } of made)
      expect((await on.run('DEL', attachment, scenario.conf, binDirs.ours)).error).toBeNull()
    expect(await linksOf(on)).toEqual(before)
  })
})

describe("Go's after ours", () => {
  test.each(moving)('$title', async (scenario) => {
    const goDir = mustPeerOf(scenario)
    const { on, before, made, checks } = await attached(scenario, binDirs.ours)
    for (const { after } of made) {
      if (checks) expect((await on.run('CHECK', after, scenario.conf, goDir)).error).toBeNull()
      expect((await on.run('DEL', after, scenario.conf, goDir)).error).toBeNull()
    }
    expect(await linksOf(on)).toEqual(before)
    // And back again: what we had noted is no hindrance.
    for (const { after } of made)
      expect((await on.run('DEL', after, scenario.conf, binDirs.ours)).error).toBeNull()
    expect(await linksOf(on)).toEqual(before)
    expect((await on.host.run('find', ['/run/linkwright', '-type', 'f'])).stdout).toBe('')
  })
})
