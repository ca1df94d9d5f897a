/** Removing masquerade rules from the old xtables, which only their programs can read and change. */

import { type LegacyHost, listLegacyTable, splitRule, type Version } from './iptables.ts'
import type { IsOurs } from './masquerade-iptables-cleanup.ts'
import { chainName, ownerInComment } from './masquerade-iptables-names.ts'

const TRIES = 5

/** A line of `iptables -S` that is a rule of POSTROUTING and leads to one of the plugins' chains. */
const jumpLine = /^-A POSTROUTING (?:-s (\S+) )?.*-j (CNI-[0-9a-f]{24})$/

/**
 * Removes the rules that lead to the chain and are ours, then the chain when nothing leads to it any more.
 * @throws Error of a program
 */
export const deleteLegacyMasquerade = async (
  host: LegacyHost,
  version: Version,
  chain: string,
  isOurs: IsOurs,
): Promise<void> => {
  for (let attempt = 1; ; attempt++) {
    const listed = await listLegacyTable(host, version, 'nat')
    if (!listed?.lines.includes(`-N ${chain}`)) return
    const { table, lines } = listed
    const jumps = lines.filter((line) => jumpLine.exec(line)?.[2] === chain)
    const ours = jumps.filter((line) => isOurs(jumpLine.exec(line)?.[1]?.split('/')[0]))
    try {
      for (const line of ours) await table.run(['-D', ...splitRule(line.slice('-A '.length))])
      // Who deletes at the same time has seen our jump, as we have seen theirs: who looks last deletes the chain.
      if (ours.length < jumps.length) {
        if (ours.length === 0) return
        continue
      }
      await table.run(['-F', chain])
      await table.run(['-X', chain])
      return
    } catch (error) {
      // What is gone, or in use again, since it was listed is found when it is listed once more.
      if (attempt === TRIES) throw error
    }
  }
}

/** Removes the chains of a network's containers that are not in the list. @throws Error of a program */
export const gcLegacyMasquerade = async (
  host: LegacyHost,
  version: Version,
  network: string,
  validContainers: ReadonlySet<string>,
): Promise<void> => {
  const listed = await listLegacyTable(host, version, 'nat')
  const owners = new Set(
    (listed?.lines ?? []).flatMap((line) => ownerInComment(network, splitRule(line).join(' ')) ?? []),
  )
  for (const owner of owners)
    if (!validContainers.has(owner))
      await deleteLegacyMasquerade(host, version, chainName(network, owner), () => true)
}
