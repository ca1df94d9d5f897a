/** Rules that the reference plugin's nftables backend has made in the same tables. */
import { parseCidr } from '../../netlink/ip.ts'
import { type Rule, truncateComment } from '../../netlink/nftables/index.ts'
import type { Current } from './nftables-state.ts'

/** Its chains that hold rules of containers. */
const containerChains = ['hostports', 'hostip_hostports', 'masquerading'] as const

/** Whether the rule translates to the address, or masquerades what goes to it. */
const leadsTo = ({ expressions }: Rule, address: Buffer): boolean =>
  expressions.some((expression) => {
    if (expression.kind !== 'cmp' && expression.kind !== 'immediate') return false
    const value = expression.data?.data?.value
    // Source and destination may stand in one comparison.
    return value !== undefined && Buffer.from(value).includes(address)
  })

/**
 * The rules that the reference made for a container. It marks them by the container's id alone, and its DEL removes
 * them for every network and interface; here only those go that lead to the attachment's addresses, and all of the
 * container where these are not known any more.
 */
export const referenceRules = (
  listed: Current['listed'],
  containerId: string,
  addresses: readonly string[],
): Rule[] => {
  const comment = truncateComment(containerId)
  const own = addresses.flatMap((text) => {
    const ip = parseCidr(text)?.ip
    return ip ? [Buffer.from(ip)] : []
  })
  return [...listed.values()].flatMap((chains) =>
    containerChains
      .flatMap((chain) => chains.get(chain) ?? [])
      .filter(
        (rule) =>
          rule.comment === comment && (own.length === 0 || own.some((address) => leadsTo(rule, address))),
      ),
  )
}
