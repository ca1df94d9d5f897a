/** The configuration of the firewall plugin, and what it comes to for one attachment. */
import * as z from 'zod/mini'
import type { Attachment } from '../../cni/plugin.ts'
import { commonConf, expects, rule, text } from '../../cni/schema.ts'
import type { Result } from '../../cni/types.ts'
import { formatIp, parseCidr } from '../../netlink/ip.ts'
import type { Version } from './filter.ts'
import { FORWARD, OWNERS, PERMITS, type Policy, policies, STAGE_1, STAGE_2 } from './rules.ts'

/** XT_EXTENSION_MAXNAMELEN of linux/netfilter/x_tables.h, less its NUL: what iptables takes. */
const MAX_CHAIN = 28
const DEFAULT_ADMIN = 'CNI-ADMIN'
const DEFAULT_ZONE = 'trusted'

/** What a chain of the operator's can not be called: ours, the kernel's, and what `-j` knows already. */
const taken = new Set([
  ...[FORWARD, PERMITS, STAGE_1, STAGE_2, OWNERS, 'INPUT', 'OUTPUT'],
  ...['ACCEPT', 'DROP', 'RETURN', 'QUEUE', 'REJECT', 'LOG', 'MARK', 'CONNMARK', 'NFLOG', 'NFQUEUE', 'TCPMSS'],
])

const isAdminChain = (name: string): boolean =>
  name === '' ||
  (name.length <= MAX_CHAIN && /^[A-Za-z0-9_.][A-Za-z0-9_.:-]*$/.test(name) && !taken.has(name))

const isPolicy = (value: string): value is Policy => (policies as readonly string[]).includes(value)

/** Every key of the firewall plugin. */
export const firewallConf = z.object({
  ...commonConf,
  /** `nftables`, `iptables`, `firewalld`. Any other: firewalld where it runs, else nftables, else iptables. */
  backend: z._default(text, ''),
  /** The operator's chain, which comes before what the plugin permits. Empty: CNI-ADMIN. */
  iptablesAdminChainName: z._default(
    z
      .string()
      .check(
        rule(
          isAdminChain,
          (name) =>
            `iptablesAdminChainName ${JSON.stringify(name)} can not be a chain of iptables for it: 1 to ${MAX_CHAIN} letters, digits, "_", ".", ":" and "-", and no name that is taken`,
        ),
      ),
    DEFAULT_ADMIN,
  ),
  /** firewalld's zone for the container's addresses. Empty: trusted. */
  firewalldZone: z._default(
    z
      .string()
      .check(expects((zone) => /^[^\s\p{Cc}"]{0,64}$/u.test(zone), "name of one of firewalld's zones")),
    DEFAULT_ZONE,
  ),
  /** Who reaches the containers. Empty: open. */
  ingressPolicy: z._default(
    z.string().check(
      rule(
        (value) => value === '' || isPolicy(value),
        (value) => `unknown ingress policy: ${JSON.stringify(value)}`,
      ),
    ),
    'open',
  ),
})
export type FirewallConf = z.infer<typeof firewallConf>
export type FirewallAttachment = Attachment<FirewallConf>

export const adminChainOf = ({ iptablesAdminChainName }: FirewallConf): string =>
  iptablesAdminChainName || DEFAULT_ADMIN
export const zoneOf = ({ firewalldZone }: FirewallConf): string => firewalldZone || DEFAULT_ZONE
export const policyOfConf = ({ ingressPolicy }: FirewallConf): Policy =>
  isPolicy(ingressPolicy) ? ingressPolicy : 'open'

export type Addresses = { readonly [V in Version]: readonly string[] }
export const noAddresses: Addresses = { 4: [], 6: [] }

/**
 * The container's addresses by family, each with its whole length: those of a result that are on an interface in a
 * sandbox, whichever it is, or on none that is named. Those of the host's interfaces are not the container's.
 */
export const addressesOf = ({ ips = [], interfaces = [] }: Result): Addresses => {
  const found = { 4: new Set<string>(), 6: new Set<string>() }
  for (const { address, interface: index } of ips) {
    const entry = index === undefined ? undefined : interfaces[index]
    const cidr = parseCidr(address)
    if (!cidr || (entry && !entry.sandbox)) continue
    const ip = formatIp(cidr.ip)
    // One of IPv4 that is mapped into IPv6 is printed, and meant, as one of IPv4.
    if (ip.includes(':')) found[6].add(`${ip}/128`)
    else found[4].add(`${ip}/32`)
  }
  return { 4: [...found[4]], 6: [...found[6]] }
}
