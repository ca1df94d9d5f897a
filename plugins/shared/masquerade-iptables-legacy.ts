/** Removing masquerade rules from the old xtables, which only their programs can read and change. */

import type { Exec } from '../../cni/exec.ts'
import type { Logger } from '../../cni/plugin.ts'
import { isErrno } from '../../netlink/index.ts'
import { iptables, type Program } from './masquerade-iptables.ts'
import type { IsOurs } from './masquerade-iptables-cleanup.ts'
import { chainName, ownerInComment } from './masquerade-iptables-names.ts'

interface Programs {
  readonly exec: Exec
  readonly log: Logger
}

/** By their own names first: where there are both, `iptables` is the front end of nf_tables. */
const candidates: { readonly [V in 4 | 6]: readonly Program[] } = {
  4: ['iptables-legacy', 'iptables'],
  6: ['ip6tables-legacy', 'ip6tables'],
}

/** The nat table in the words of `iptables -S`, and the program that printed it; null where there is no program. */
const listLegacy = async (
  { exec, log }: Programs,
  version: 4 | 6,
): Promise<{ readonly program: Program; readonly lines: readonly string[] } | null> => {
  for (const program of candidates[version])
    try {
      return { program, lines: (await iptables(exec, program, ['-S'])).split('\n') }
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    }
  // Without a program no plugin can have made rules: they are another's, e.g. of a kube-proxy in a container.
  log.debug(
    `there is an old nat table of IPv${version}, but no ${candidates[version].join(' or ')} to read it`,
  )
  return null
}

const TRIES = 5

/** A line of `iptables -S` that is a rule of POSTROUTING and leads to one of the plugins' chains. */
const jumpLine = /^-A POSTROUTING (?:-s (\S+) )?.*-j (CNI-[0-9a-f]{24})$/

/** The words of a line, whose quoted strings escape `"` and `\`. */
const splitRule = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? plain! : quoted.replace(/\\(.)/g, '$1'),
  )

/**
 * Removes the rules that lead to the chain and are ours, then the chain when nothing leads to it any more.
 * @throws Error of a program
 */
export const deleteLegacyMasquerade = async (
  programs: Programs,
  version: 4 | 6,
  chain: string,
  isOurs: IsOurs,
): Promise<void> => {
  for (let attempt = 1; ; attempt++) {
    const listed = await listLegacy(programs, version)
    if (!listed?.lines.includes(`-N ${chain}`)) return
    const { program, lines } = listed
    const run = (args: readonly string[]) => iptables(programs.exec, program, args)
    const jumps = lines.filter((line) => jumpLine.exec(line)?.[2] === chain)
    const ours = jumps.filter((line) => isOurs(jumpLine.exec(line)?.[1]?.split('/')[0]))
    try {
      for (const line of ours) await run(['-D', ...splitRule(line.slice('-A '.length))])
      // Who deletes at the same time has seen our jump, as we have seen theirs: who looks last deletes the chain.
      if (ours.length < jumps.length) {
        if (ours.length === 0) return
        continue
      }
      await run(['-F', chain])
      await run(['-X', chain])
      return
    } catch (error) {
      // What is gone, or in use again, since it was listed is found when it is listed once more.
      if (attempt === TRIES) throw error
    }
  }
}

/** Removes the chains of a network's containers that are not in the list. @throws Error of a program */
export const gcLegacyMasquerade = async (
  programs: Programs,
  version: 4 | 6,
  network: string,
  validContainers: ReadonlySet<string>,
): Promise<void> => {
  const listed = await listLegacy(programs, version)
  const owners = new Set(
    (listed?.lines ?? []).flatMap((line) => ownerInComment(network, splitRule(line).join(' ')) ?? []),
  )
  for (const owner of owners)
    if (!validContainers.has(owner))
      await deleteLegacyMasquerade(programs, version, chainName(network, owner), () => true)
}
