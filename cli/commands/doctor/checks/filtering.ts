/** Whether NAT, port mappings and firewall rules can be made, and whether others' rules stand in their way. */
import type { FilteringFacts } from '../facts/filtering.ts'
import { type Finding, ok, type Seen, unseen, warning } from '../finding.ts'

const usable = (
  id: string,
  what: string,
  option: string,
  instead: string,
  answer: Seen<string | null>,
): Finding => {
  if (!answer.seen) return unseen(id, what, answer.why)
  if (answer.value === null) return ok(id, `${what} can be used`)
  return warning(id, `${what} can not be used: ${answer.value}`, {
    advice: `${instead}; the kernel needs ${option}`,
    facts: { why: answer.value },
  })
}

const checkLegacy = ({ legacy, tables }: FilteringFacts): Finding => {
  const id = 'filter.legacy-xtables'
  if (!legacy.seen) return unseen(id, 'tables of the old xtables', legacy.why)
  const names = [
    ...legacy.value.ipv4.map((name) => `ip ${name}`),
    ...legacy.value.ipv6.map((name) => `ip6 ${name}`),
  ]
  if (names.length === 0) return ok(id, 'the old xtables are not in use')
  const others = tables.seen ? tables.value : []
  const facts = { legacy: names, nftables: others }
  if (others.length === 0) return ok(id, `the old xtables are in use, alone: ${names.join(', ')}`, { facts })
  return warning(
    id,
    `the old xtables (${names.join(', ')}) are in use beside nf_tables (${others.join(', ')})`,
    {
      advice:
        'packets pass both, and each sees only its own rules: let all programs use one (update-alternatives --config iptables), then remove what is left in the other',
      facts,
    },
  )
}

/** Networks whose containers' packets the host forwards, and no plugin permits. */
export interface Forwarded {
  readonly name: string
  readonly permitted: boolean
}

const checkForward = ({ dropping }: FilteringFacts, networks: readonly Forwarded[]): Finding => {
  const id = 'filter.forward-policy'
  if (!dropping.seen) return unseen(id, 'policies of forward chains', dropping.why)
  const chains = dropping.value
  if (chains.length === 0) return ok(id, 'forwarded packets are accepted unless a rule drops them')
  const cut = networks.filter(({ permitted }) => !permitted).map(({ name }) => name)
  const facts = { chains, networks: cut }
  if (cut.length === 0)
    return ok(id, `forwarded packets are dropped unless a rule accepts them (${chains.join(', ')})`, {
      facts,
    })
  return warning(
    id,
    `${chains.join(', ')} drops forwarded packets, and no plugin of ${cut.join(', ')} permits their containers'`,
    { advice: 'add the plugin firewall to their lists, or permit the traffic otherwise', facts },
  )
}

export const checkFiltering = (facts: FilteringFacts, networks: readonly Forwarded[]): readonly Finding[] => [
  usable(
    'filter.nftables',
    'nf_tables with NAT',
    'CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_NAT, CONFIG_NFT_MASQ (modules nf_tables, nft_chain_nat, nft_masq)',
    'masquerade and port mappings run iptables instead',
    facts.nftables,
  ),
  usable(
    'filter.xtables-matches',
    'matches of xtables in nf_tables',
    'CONFIG_NFT_COMPAT, CONFIG_NETFILTER_XT_MATCH_CONNTRACK, CONFIG_NETFILTER_XT_MATCH_COMMENT (modules nft_compat, xt_conntrack, xt_comment)',
    'the plugin firewall runs iptables instead',
    facts.xtables,
  ),
  checkLegacy(facts),
  checkForward(facts, networks),
]
