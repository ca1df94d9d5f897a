/** What is routed by its source: the addresses of the attachment, and the rules that lead to their tables. */
import { CniError, codes } from '../../cni/error.ts'
import type { IpConfig, Result } from '../../cni/types.ts'
import { asIpv4, type Cidr, type Family, formatIp, parseCidr, type Rule } from '../../netlink/index.ts'
import { ownAddresses } from '../shared/result.ts'
import type { SbrAttachment } from './conf.ts'

/** An address whose packets get a table of their own. */
export interface Source {
  readonly ip: string
  readonly family: Family
  readonly subnet: Cidr
  /** Of its default route, where who assigned the address says so. */
  readonly gateway: string | undefined
}

const toSource = ({ address, gateway }: IpConfig): Source[] => {
  const parsed = parseCidr(address)
  if (!parsed) return []
  const subnet = asIpv4(parsed)
  return [{ ip: formatIp(subnet.ip), family: subnet.ip.length === 4 ? 4 : 6, subnet, gateway }]
}

/** The attachment's addresses in a result, each once. */
export const sourcesOf = (result: Result, attachment: Pick<SbrAttachment, 'ifName'>): Source[] => {
  const all = ownAddresses(result, attachment).flatMap(toSource)
  return all.filter(({ ip }, i) => all.findIndex((other) => other.ip === ip) === i)
}

/** The same. @throws CniError code 7 where there is none */
export const requireSources = (result: Result, attachment: Pick<SbrAttachment, 'ifName'>): Source[] => {
  const sources = sourcesOf(result, attachment)
  if (sources.length > 0) return sources
  throw new CniError({
    code: codes.invalidConfig,
    msg: `No IP addresses supplied on interface: ${attachment.ifName}`,
    details: 'routes are chosen by source address: an earlier plugin of the chain has to assign one',
  })
}

/** A whole address as the source of a rule. */
export const prefixOf = ({ ip, family }: Pick<Source, 'ip' | 'family'>): string =>
  `${ip}/${family === 4 ? 32 : 128}`

/** Whether a rule says nothing but: what comes from this address asks a table. Others are not ours. */
export const isSourceRule = (rule: Rule): rule is Rule & { readonly from: string } =>
  rule.from !== undefined &&
  rule.action === 'table' &&
  !rule.invert &&
  !rule.l3mdev &&
  rule.tos === 0 &&
  !rule.mark &&
  [
    ...[rule.to, rule.inputName, rule.outputName, rule.tunnelId, rule.uids],
    ...[rule.ipProtocol, rule.sourcePorts, rule.destinationPorts, rule.suppressPrefixLength],
  ].every((condition) => condition === undefined)
