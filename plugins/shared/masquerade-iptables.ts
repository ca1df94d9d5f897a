/**
 * IP masquerade by the `iptables` and `ip6tables` programs, in the chains of the Go plugins: `CNI-` and 24 hex digits
 * in the nat table. Only for ADD, and only where it is asked for or nf_tables is missing; see
 * masquerade-iptables-cleanup.ts for how DEL does without running anything on most hosts.
 */
import type { Exec } from '../../cni/exec.ts'
import { familyOf, formatIp, network, parseCidr } from '../../netlink/ip.ts'
import { IptablesTable, programs, type Version } from './iptables.ts'
import { chainName, ruleComment } from './masquerade-iptables-names.ts'

export interface IptablesMasquerade {
  readonly network: string
  readonly containerId: string
  /** The container's addresses, `address/prefix`. */
  readonly addresses: readonly string[]
}

const multicast = { 4: '224.0.0.0/4', 6: 'ff00::/8' } as const

const nat = (exec: Exec, version: Version) => new IptablesTable(exec, programs[version], 'nat')

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
    const table = nat(exec, family)
    await table.ensureChain(chain)
    // What is not masqueraded comes before what is, also of an address that joins others.
    for (const { chain: to, rule } of addresses.flatMap((address) => rulesFor(masquerade, address)))
      await table.ensureRule(to, rule, rule[0] === '-d' ? 'insert' : 'append')
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
      if (!(await nat(exec, familyOf(address)).hasRule(chain, rule)))
        missing.push(`${programs[familyOf(address)]} rule in chain ${chain}: ${rule.join(' ')}`)
  return missing
}
