import { expect, test } from 'vitest'
import { binDirs } from '../../support/plugin.ts'
import { playBoth } from './compare.ts'
import { mustPeerOf, type Scenario } from './sides.ts'

/** A configuration that both refuse. */
export interface Refused extends Scenario {
  /** Our words, where they differ from Go's, which are told by Go's JSON decoder or by the C library. */
  readonly ours?: RegExp
  /** Whether DEL is an error too: what may be there can't be removed. */
  readonly delFails?: boolean
}

/** Declares the tests of configurations that both refuse. */
export const refusals = (refused: readonly Refused[]): void => {
  test.each(refused)('both refuse: $title', async ({ ours: words, delFails = false, ...scenario }) => {
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
      else
        expect(own.error?.msg).toBe(
          String(error?.msg).replace(/\.$/, '').replaceAll(mustPeerOf(scenario), binDirs.ours),
        )
    }
    // Go leaves a bridge and a pair for DEL to remove.
    if (!scenario.prepare && (scenario.attachments ?? []).length < 2)
      expect(ours.states['host after ADD']?.links).toEqual([expect.objectContaining({ ifname: 'lo' })])
    for (const [step, run] of Object.entries(ours.runs))
      if (step.startsWith('DEL')) expect([step, run.status]).toEqual([step, delFails ? 1 : 0])
  })
}
