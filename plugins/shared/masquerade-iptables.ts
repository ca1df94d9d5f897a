/**
 * IP masquerade by the `iptables` and `ip6tables` programs, in the chains of the Go plugins: `CNI-` and 24 hex digits
 * in the nat table. Only for ADD, and only where it is asked for or nf_tables is missing; see
 * masquerade-iptables-cleanup.ts for how DEL does without running anything on most hosts.
 */
import { createHash } from 'node:crypto'
import type { Exec } from '../../cni/exec.ts'
import { familyOf, formatIp, network, parseCidr } from '../../netlink/ip.ts'

export interface IptablesMasquerade {
  readonly network: string
  readonly containerId: string
  /** The container's addresses, `address/prefix`. */
  readonly addresses: readonly string[]
}

/** The chain of a container in a network. The interface is not part of it: two attachments share one. */
export const chainName = (network: string, containerId: string): string =>
  `CNI-${createHash('sha512')
    .update(network + containerId)
    .digest('hex')
    .slice(0, 24)}`

/** The comment on each rule, in Go's quotes. */
export const ruleComment = (network: string, containerId: string): string =>
  `name: ${JSON.stringify(network)} id: ${JSON.stringify(containerId)}`

/** The front ends: of nf_tables on almost every host, of the old xtables by their own names. */
export type Program = 'iptables' | 'ip6tables' | 'iptables-legacy' | 'ip6tables-legacy'
const programs = { 4: 'iptables', 6: 'ip6tables' } as const
const multicast = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const

/** Runs one of the programs on the nat table. @throws Error with its words on standard error */
const iptables = async (exec: Exec, file: Program, args: readonly string[]): Promise<string> => {
  const { status, stdout, stderr } = await exec(file, ['--wait', '-t', 'nat', ...args])
  if (status !== 0)
    throw new Error(`${file} -t nat ${args.join(' ')}: ${stderr.trim() || `exit status ${status}`}`)
  return stdout
}

/** Whether a rule is there: `-C` tells by its status. */
const hasRule = async (exec: Exec, family: 4 | 6, chain: string, rule: readonly string[]): Promise<boolean> =>
  (await exec(programs[family], ['--wait', '-t', 'nat', '-C', chain, ...rule])).status === 0

interface Rule {
  readonly chain: string
  readonly rule: readonly string[]
}

const rulesFor = ({ network: name, containerId }: IptablesMasquerade, cidr: string): Rule[] => {
  const parsed = parseCidr(cidr)
  if (!parsed) throw new RangeError(`${JSON.stringify(cidr)} is not an address with a prefix`)
  const family = familyOf(cidr)
  const chain = chainName(name, containerId)
  const comment = ['-m', 'comment', '--comment', ruleComment(name, containerId)]
  return [
    { chain, rule: ['-d', `${formatIp(network(parsed))}/${parsed.prefix}`, '-j', 'ACCEPT', ...comment] },
    { chain, rule: ['!', '-d', multicast[family], '-j', 'MASQUERADE', ...comment] },
    { chain: 'POSTROUTING', rule: ['-s', formatIp(parsed.ip), '-j', chain, ...comment] },
  ]
}

/**
 * Adds what is missing. Equivalent: `iptables -t nat -N CNI-…`, then `-A` of three rules an address.
 * @throws Error when a program is missing or refuses
 */
export const addIptablesMasquerade = async (exec: Exec, masquerade: IptablesMasquerade): Promise<void> => {
  const chain = chainName(masquerade.network, masquerade.containerId)
  for (const family of [4, 6] as const) {
    const addresses = masquerade.addresses.filter((address) => familyOf(address) === family)
    if (addresses.length === 0) continue
    const exists = await exec(programs[family], ['--wait', '-t', 'nat', '-S', chain, '1'])
    if (exists.status !== 0) await iptables(exec, programs[family], ['-N', chain])
    for (const { chain: to, rule } of addresses.flatMap((address) => rulesFor(masquerade, address)))
      if (!(await hasRule(exec, family, to, rule)))
        await iptables(exec, programs[family], ['-A', to, ...rule])
  }
}

/** What is missing of it, in words. Changes nothing. */
export const missingIptablesMasquerade = async (
  exec: Exec,
  masquerade: IptablesMasquerade,
): Promise<string[]> => {
  const missing: string[] = []
  for (const address of masquerade.addresses)
    for (const { chain, rule } of rulesFor(masquerade, address))
      if (!(await hasRule(exec, familyOf(address), chain, rule)))
        missing.push(`${programs[familyOf(address)]} rule in chain ${chain}: ${rule.join(' ')}`)
  return missing
}

/** Whether a line of `iptables -S` is a rule of POSTROUTING that leads to one of the plugins' chains. */
const jumpLine = /^-A POSTROUTING (?:-s (\S+) )?.*-j (CNI-[0-9a-f]{24})$/

/**
 * Removes, by execution, the rules of `addresses` (all that lead to the chain where there are none), then the chain
 * when nothing leads to it any more.
 * @throws Error
 */
export const deleteIptablesMasquerade = async (
  exec: Exec,
  program: Program,
  { network: name, containerId, addresses }: IptablesMasquerade,
): Promise<void> => {
  const chain = chainName(name, containerId)
  const lines = (await iptables(exec, program, ['-S'])).split('\n')
  const ours = new Set(addresses.map((address) => address.split('/')[0]!))
  let left = 0
  for (const line of lines) {
    const [, source, target] = jumpLine.exec(line) ?? []
    if (target !== chain) continue
    if (ours.size === 0 || (source && ours.has(source.split('/')[0]!)))
      await iptables(exec, program, ['-D', ...splitRule(line.slice('-A '.length))])
    else left++
  }
  if (left > 0 || !lines.includes(`-N ${chain}`)) return
  await iptables(exec, program, ['-F', chain])
  await iptables(exec, program, ['-X', chain])
}

/** The words of a line of `iptables -S`, whose quoted strings escape `"` and `\`. */
const splitRule = (line: string): string[] =>
  [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted === undefined ? plain! : quoted.replace(/\\(.)/g, '$1'),
  )
