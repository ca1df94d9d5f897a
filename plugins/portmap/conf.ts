/** The configuration of portmap, and what it comes to for one attachment. */
import * as z from 'zod/mini'
import type { Attachment, Context } from '../../cni/plugin.ts'
import { commonConf, expects, flag, rule, runtimeConfigOf } from '../../cni/schema.ts'
import type { Result } from '../../cni/types.ts'
import { canonicalCidr, familyOf, formatIp, parseIp } from '../../netlink/ip.ts'
import { ownAddresses } from '../shared/result.ts'
import { type Forwarding, type PortMapping, type Protocol, protocols } from './forwarding.ts'

/** How the Go plugin begins everything that is wrong with a configuration. */
const PREFIX = 'failed to parse config: '

/** The bit that asks for masquerade unless the configuration says otherwise: Kubernetes has 14 and 15. */
const DEFAULT_MARK_BIT = 13

/** As Go has it, an absent one is 0. */
const port = (which: string) =>
  z.prefault(
    z.int({ error: 'integer from 1 to 65535' }).check(
      rule(
        (value) => value >= 1 && value <= 65_535,
        (value) => `${PREFIX}Invalid ${which} port number: ${value}`,
      ),
    ),
    0,
  )

const isProtocol = (name: string): name is Protocol => (protocols as readonly string[]).includes(name)

/** One of `runtimeConfig.portMappings`, the capability of that name (CNI conventions). */
const portMapping = z.object({
  containerPort: port('container'),
  hostPort: port('host'),
  /** In any case. Empty or absent: tcp, as it is everywhere where ports are mapped. */
  protocol: z._default(
    z
      .string()
      .check(expects((value) => value === '' || isProtocol(value.toLowerCase()), protocols.join(', '))),
    'tcp',
  ),
  /** Empty: every address of the host. `0.0.0.0` and `::`: every one of their family. */
  hostIP: z._default(
    z.string().check(expects((value) => value === '' || parseIp(value) !== null, 'IP address')),
    '',
  ),
})
type AskedMapping = z.infer<typeof portMapping>

/** A word of a rule: a list of them ends up in a program's input, or in a language of its own. */
const condition = z.string().check(expects((value) => /^\P{Cc}+$/u.test(value), 'text'))
const conditions = z._default(z.array(condition), [])

/** Backends as the key `backend` names them. */
export type Backend = 'nftables' | 'iptables'

const syntaxOf = ([first]: readonly string[]): Backend | undefined =>
  first === undefined ? undefined : /^[-!]/.test(first) ? 'iptables' : 'nftables'

interface Options {
  readonly backend?: string | undefined
  readonly externalSetMarkChain: string
  readonly conditionsV4: readonly string[]
  readonly conditionsV6: readonly string[]
}

/** Keys that are set and mean something to one of the backends only. */
const keysOf = (backend: Backend, conf: Options): string[] => [
  ...(backend === 'iptables' && conf.externalSetMarkChain !== '' ? ['externalSetMarkChain'] : []),
  ...(['conditionsV4', 'conditionsV6'] as const).filter((key) => syntaxOf(conf[key]) === backend),
]

/** The backend that the configuration asks for, in words or by keys that only that one has; undefined: either. */
export const backendOf = (conf: Options): Backend | undefined => {
  if (conf.backend === 'iptables' || conf.backend === 'nftables') return conf.backend
  if (keysOf('iptables', conf).length > 0) return 'iptables'
  return keysOf('nftables', conf).length > 0 ? 'nftables' : undefined
}

const foreignKeys = (conf: Options): { readonly backend: Backend; readonly keys: readonly string[] } => {
  const backend = backendOf(conf) ?? 'nftables'
  return { backend, keys: keysOf(backend === 'nftables' ? 'iptables' : 'nftables', conf) }
}

const anyV4 = '0.0.0.0'
const anyV6 = '::'

const toMapping = ({ hostPort, containerPort, protocol, hostIP }: AskedMapping): PortMapping => {
  const ip = parseIp(hostIP)
  const name = protocol.toLowerCase()
  return {
    hostPort,
    containerPort,
    protocol: isProtocol(name) ? name : 'tcp',
    hostIp: ip ? formatIp(ip) : undefined,
  }
}

/** Mappings that are one, taken apart: each place on the host has one meaning. */
interface Places {
  /** In the order in which packets should meet them: an address before all addresses, which have its packets too. */
  readonly mappings: readonly PortMapping[]
  /** The first that leads elsewhere than one before it. */
  readonly contradiction: PortMapping | undefined
}

const placesOf = (asked: readonly AskedMapping[]): Places => {
  const known = new Map<string, number>()
  const particular: PortMapping[] = []
  const general: PortMapping[] = []
  let contradiction: PortMapping | undefined
  for (const mapping of asked.map(toMapping)) {
    const { protocol, hostPort, containerPort, hostIp } = mapping
    const ips = hostIp === undefined ? [anyV4, anyV6] : [hostIp]
    const fresh = ips.filter((ip) => {
      const place = `${ip}/${protocol}/${hostPort}`
      const before = known.get(place)
      known.set(place, before ?? containerPort)
      if (before !== undefined && before !== containerPort) contradiction ??= mapping
      return before === undefined
    })
    if (fresh.length === 0) continue
    const one = fresh.length === ips.length ? mapping : { ...mapping, hostIp: fresh[0] }
    if (one.hostIp === undefined || one.hostIp === anyV4 || one.hostIp === anyV6) general.push(one)
    else particular.push(one)
  }
  return { mappings: [...particular, ...general], contradiction }
}

const portMappings = z._default(
  z.array(portMapping).check(
    rule(
      (asked) => placesOf(asked).contradiction === undefined,
      (asked) => {
        const { hostPort, protocol } = placesOf(asked).contradiction!
        return `${PREFIX}host port ${hostPort}/${protocol} is mapped to two ports of the container`
      },
    ),
  ),
  [],
)

/** Every key of the portmap plugin. */
export const portmapConf = z
  .object({
    ...commonConf,
    backend: z.optional(
      z.string().check(
        rule(
          (value) => value === 'nftables' || value === 'iptables',
          (value) => `${PREFIX}unrecognized backend ${JSON.stringify(value)}`,
        ),
      ),
    ),
    snat: z._default(z.boolean(), true),
    masqAll: flag,
    markMasqBit: z.optional(
      z.int().check(
        rule(
          (value) => value >= 0 && value <= 31,
          () => `${PREFIX}MasqMarkBit must be between 0 and 31`,
        ),
      ),
    ),
    externalSetMarkChain: z._default(
      z.string().check(expects((value) => /^([^\s\p{Cc}!-][^\s\p{Cc}]*)?$/u.test(value), 'name of a chain')),
      '',
    ),
    conditionsV4: conditions,
    conditionsV6: conditions,
    runtimeConfig: runtimeConfigOf({ portMappings }),
  })
  .check(
    rule(
      ({ markMasqBit, externalSetMarkChain }) => markMasqBit === undefined || externalSetMarkChain === '',
      () => `${PREFIX}Cannot specify externalSetMarkChain and markMasqBit`,
    ),
    rule(
      (conf) => foreignKeys(conf).keys.length === 0,
      (conf) => {
        const { backend, keys } = foreignKeys(conf)
        const other = backend === 'nftables' ? 'iptables' : 'nftables'
        return `${PREFIX}${backend} backend was requested but configuration contains ${other}-specific options [${keys.join(' ')}]`
      },
    ),
  )
export type PortmapConf = z.infer<typeof portmapConf>

/** The port mappings that the runtime asks for. */
export const mappingsOf = ({ conf }: Pick<Context<PortmapConf>, 'conf'>): readonly PortMapping[] =>
  placesOf(conf.runtimeConfig?.portMappings ?? []).mappings

/** The first address of each family, as `address/prefix`. */
const firstOfEach = (result: Result, attachment: Pick<Attachment<unknown>, 'ifName'>): string[] => {
  const first = new Map<4 | 6, string>()
  for (const { address } of ownAddresses(result, attachment)) {
    const cidr = canonicalCidr(address)
    if (cidr === null) continue
    const family = familyOf(cidr)
    if (!first.has(family)) first.set(family, cidr)
  }
  return [first.get(4), first.get(6)].filter((address) => address !== undefined)
}

/** What the backends are given. */
export const forwardingOf = (attachment: Attachment<PortmapConf>, result: Result): Forwarding => {
  const { conf, network, containerId, ifName } = attachment
  const { snat, masqAll, conditionsV4, conditionsV6, externalSetMarkChain } = conf
  return {
    network,
    containerId,
    ifName,
    mappings: mappingsOf(attachment),
    addresses: firstOfEach(result, attachment),
    snat,
    masqAll,
    conditionsV4,
    conditionsV6,
    markMasqBit: conf.markMasqBit ?? DEFAULT_MARK_BIT,
    externalSetMarkChain,
  }
}
