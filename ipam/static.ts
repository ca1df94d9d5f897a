/** static: hands out the addresses that a configuration names. It keeps nothing and looks for no conflicts. */
import * as z from 'zod/mini'
import { CniError, codes, invalidConfig } from '../cni/error.ts'
import { type Attachment, definePlugin } from '../cni/plugin.ts'
import { argsOf, commonConf, dns, ip, routes, rule, runtimeConfigOf, text, texts } from '../cni/schema.ts'
import { allVersions, type Result } from '../cni/types.ts'
import { asIpv4, type Cidr, contains, formatCidr, formatIp, parseCidr, parseIp } from '../netlink/ip.ts'
import { canonicalIp } from './address.ts'
import { tooManyAddresses } from './ranges.ts'
import { canonicalRoutes } from './routes.ts'

const fields = z.object({
  ...commonConf,
  ipam: z.optional(
    z.object({
      type: z.optional(text),
      addresses: z.optional(
        z.array(
          z.object({
            /** `address/prefix` */
            address: z._default(text, ''),
            gateway: z.optional(ip),
          }),
        ),
      ),
      routes: z.optional(routes),
      dns: z.optional(dns),
    }),
  ),
  /** Replaces all other addresses. */
  runtimeConfig: runtimeConfigOf({ ips: z.optional(texts) }),
  /** Replaces the addresses of `ipam` and of CNI_ARGS. */
  args: argsOf({ ips: z.optional(texts) }),
})
type StaticConf = z.infer<typeof fields>

interface Assigned extends Cidr {
  /** As configured; empty where none is. */
  readonly gateway: string
}

/** Says what is wrong with an address, in the reference's words. */
class AddressProblem extends Error {
  override readonly name = 'AddressProblem'
}

const read = (text: string, expected: string, gateway = ''): Assigned => {
  const cidr = parseCidr(text)
  if (!cidr) throw new AddressProblem(`${expected}, got: '${text}'`)
  return { ...asIpv4(cidr), gateway }
}

/** What the configuration alone assigns. `replaced`: whatever `ipam` or CNI_ARGS say. @throws AddressProblem */
const configured = ({
  ipam,
  args,
  runtimeConfig,
}: StaticConf): { addresses: readonly Assigned[]; replaced: boolean } => {
  if (!ipam) throw new AddressProblem("IPAM config missing 'ipam' key")
  // All are read, though the last list wins: what is wrong in one that loses is wrong all the same.
  const lists = [args?.cni?.ips ?? [], runtimeConfig?.ips ?? []].map((ips) =>
    ips.map((text) => read(text, "an entry in the 'ips' field is NOT in CIDR notation")),
  )
  const winner = lists.findLast((list) => list.length > 0)
  if (winner) return { addresses: winner, replaced: true }
  const addresses = (ipam.addresses ?? []).map(({ address, gateway }) =>
    read(address, "the 'address' field is expected to be in CIDR notation", gateway),
  )
  return { addresses, replaced: false }
}

const problem = (conf: StaticConf): string | null => {
  try {
    configured(conf)
    return null
  } catch (error) {
    if (error instanceof AddressProblem) return error.message
    throw error
  }
}

/** Every key of static. Addresses that are none do not validate. */
const staticConf = fields.check(
  rule(
    (conf) => problem(conf) === null,
    (conf) => problem(conf) ?? '',
  ),
)

const items = (list: string | undefined): string[] => (list ? list.split(',') : [])

const badArgs = (msg: string): CniError =>
  new CniError({
    code: codes.invalidEnvironment,
    msg,
    details: 'CNI_ARGS takes IP=address/prefix,… and GATEWAY=address,…',
  })

/**
 * All addresses with their gateways. One of CNI_ARGS' GATEWAY goes to every address that has none and whose prefix it
 * is in; of several the last.
 * @throws CniError code 4 for CNI_ARGS that can't be read, 7 for more than the result's version has room for
 */
const assigned = ({ conf, args, cniVersion }: Attachment<StaticConf>): readonly Assigned[] => {
  const { addresses, replaced } = configured(conf)
  const { IP, GATEWAY } = args.pick(['IP', 'GATEWAY'])
  let requested: Assigned[]
  try {
    requested = items(IP).map((item) =>
      read(item.trim(), "the 'ip' field is expected to be in CIDR notation"),
    )
  } catch (error) {
    throw error instanceof AddressProblem ? badArgs(error.message) : error
  }
  const gateways = items(GATEWAY).map((item) => {
    const bytes = parseIp(item.trim())
    if (!bytes) throw badArgs(`invalid gateway address: ${item}`)
    return bytes
  })
  const result = [...addresses, ...(replaced ? [] : requested)].map((address) => {
    if (address.gateway !== '')
      return { ...address, gateway: canonicalIp(address.gateway) ?? address.gateway }
    const gateway = gateways.findLast((gateway) => contains(address, gateway))
    return gateway ? { ...address, gateway: formatIp(gateway) } : address
  })
  const tooMany = tooManyAddresses(
    result.map(({ ip }) => (ip.length === 4 ? 4 : 6)),
    cniVersion,
  )
  if (tooMany) throw invalidConfig(tooMany)
  return result
}

/** `static`: addresses from the configuration. */
export const staticIpam = definePlugin({
  type: 'static',
  kind: 'ipam',
  versions: allVersions,
  conf: staticConf,

  async add(attachment): Promise<Result> {
    const { ipam } = attachment.conf
    const routes = canonicalRoutes(ipam?.routes)
    return {
      ips: assigned(attachment).map((address) => ({
        address: formatCidr(address),
        ...(address.gateway !== '' && { gateway: address.gateway }),
      })),
      ...(routes && { routes }),
      ...(ipam?.dns && { dns: ipam.dns }),
    }
  },

  async check(attachment): Promise<void> {
    const { prevResult, ifName } = attachment
    const addresses = assigned(attachment)
    if (!prevResult) throw invalidConfig('Required prevResult missing')
    for (const { ip, gateway } of addresses) {
      const text = formatIp(ip)
      const found = (prevResult.ips ?? []).filter(({ address }) => nameOf(address) === text)
      const fits = found.some((ip) => gateway === '' || canonicalIp(ip.gateway ?? '') === gateway)
      if (!fits)
        throw new CniError({
          code: codes.internal,
          msg: `static: Failed to match addr ${text} on interface ${ifName}`,
          details: found.length > 0 ? `its gateway should be ${gateway}` : 'prevResult does not have it',
        })
    }
  },

  /** There is nothing to give back. */
  async del(): Promise<void> {},

  /** The configuration has validated: an ADD would work. */
  async status(): Promise<void> {},

  async gc(): Promise<void> {},
})

/** The address in `address/prefix` as Go prints it. */
const nameOf = (cidr: string): string | null => {
  const parsed = parseCidr(cidr)
  return parsed && formatIp(parsed.ip)
}
