/** An operator puts other plugins in place while containers run: what one implementation began, the other ends. */
import { describe, expect, test } from 'vitest'
import { binDirs } from '../../support/plugin.ts'
import { mustPeerOf, type Scenario, type Side, side } from './sides.ts'

/** Everything that an attachment of any kind may have left on the host. */
const left = async ({ host }: Side): Promise<string[]> => {
  const script = [
    'ip -o link show type veth',
    'nft list ruleset',
    'iptables-save',
    'ip6tables-save',
    'find /var/lib/cni/networks -type f',
  ].join('; ')
  const { stdout } = await host.run('sh', ['-c', script])
  return stdout
    .split('\n')
    .filter((line) => /veth|saddr|CNI-|cni-br-iface|\/networks\/.*\/(10|fd)/.test(line))
}

const attach = async (scenario: Scenario, binDir: string, conf = scenario.conf) => {
  const on = await side(binDir)
  await scenario.prepare?.(on.host)
  const attachments = scenario.attachments ?? [{ container: 'blue' }]
  const made = []
  for (const attachment of attachments) {
    const run = await on.run('ADD', attachment, conf)
    expect(run.error).toBeNull()
    made.push({ ...attachment, conf: { ...attachment.conf, prevResult: run.result as never } })
  }
  expect(await left(on)).not.toEqual([])
  return { on, made, attachments }
}

const versionOf = ({ conf }: Scenario): string => String(conf.cniVersion ?? '1.0.0')

/** Declares the tests of scenarios that have something to leave behind, or to be checked. */
export const swaps = (swapped: readonly Scenario[]): void => {
  // A group without a test is an error.
  if (swapped.length === 0) return
  describe("ours after Go's", () => {
    test.each(swapped)('$title', async (scenario) => {
      const { conf } = scenario
      const { on, made } = await attach(scenario, mustPeerOf(scenario))
      for (const attachment of made) {
        if (versionOf(scenario) >= '0.4.0')
          expect((await on.run('CHECK', attachment, conf, binDirs.ours)).error).toBeNull()
        expect((await on.run('DEL', attachment, conf, binDirs.ours)).error).toBeNull()
      }
      expect(await left(on)).toEqual([])
      const again = await on.run('ADD', { container: 'next' }, conf, binDirs.ours)
      expect(again.error).toBeNull()
    })

    test.each(swapped)('$title, without the result', async (scenario) => {
      const { on, attachments } = await attach(scenario, mustPeerOf(scenario))
      for (const attachment of attachments)
        expect((await on.run('DEL', attachment, scenario.conf, binDirs.ours)).error).toBeNull()
      expect(await left(on)).toEqual([])
    })
  })

  describe("Go's after ours", () => {
    test.each(swapped)('$title', async (scenario) => {
      const { conf } = scenario
      const goDir = mustPeerOf(scenario)
      const { on, made } = await attach(scenario, binDirs.ours)
      for (const attachment of made) {
        // Go's CHECK can't do without IPAM.
        if (versionOf(scenario) >= '0.4.0' && conf.ipam)
          expect((await on.run('CHECK', attachment, conf, goDir)).error).toBeNull()
        const del = await on.run('DEL', attachment, conf, goDir)
        // With two addresses of a family it takes the chain for busy, and is right the second time.
        if (/CHAIN_DEL failed|busy/i.test(String(del.error?.msg)))
          expect((await on.run('DEL', attachment, conf, goDir)).error).toBeNull()
        else expect(del.error).toBeNull()
      }
      expect(await left(on)).toEqual([])
      const again = await on.run('ADD', { container: 'next' }, conf, goDir)
      expect(again.error).toBeNull()
    })
  })
}
