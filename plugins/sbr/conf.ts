import * as z from 'zod/mini'
import { invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { commonConf, flag, integer, texts } from '../../cni/schema.ts'
import { type Family, formatIp, parseIp } from '../../netlink/index.ts'

/** Every key of the sbr plugin. */
export const sbrConf = z.object({
  ...commonConf,
  /** A table that somebody else fills: only rules are made. Default: a free one for each address. */
  table: z.optional(integer(1, 0xffff_ffff)),
  /** Gateways of the default routes, one of a family, in the place of those that IPAM has assigned. */
  gateways: z._default(texts, []),
  /** Routes to the interface's own subnets stay in the main table, with its address as the preferred source. */
  addSourceHints: flag,
})

export type SbrConf = z.infer<typeof sbrConf>
export type SbrAttachment = Attachment<SbrConf>

/**
 * `gateways` by their family. Where `table` is set nobody looks at them.
 * @throws CniError code 7
 */
export const gatewaysOf = ({ table, gateways }: SbrConf): ReadonlyMap<Family, string> => {
  const found = new Map<Family, string>()
  if (table !== undefined) return found
  if (gateways.length > 2)
    throw invalidConfig('gateways list cannot contain more than 2 entries (one IPv4, one IPv6)')
  for (const text of gateways) {
    const parsed = parseIp(text)
    if (!parsed) throw invalidConfig(`invalid static gateway IP address: ${text}`)
    const family = parsed.length === 4 ? 4 : 6
    const other = found.get(family)
    if (other !== undefined)
      throw invalidConfig(`gateways list contains multiple IPv${family} addresses: ${other} and ${text}`)
    found.set(family, formatIp(parsed))
  }
  return found
}
