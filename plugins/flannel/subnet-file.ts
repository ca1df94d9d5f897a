/** What flanneld tells about its node: `FLANNEL_SUBNET=10.244.1.1/24` and the like, one a line. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { CniError, codes } from '../../cni/error.ts'
import { goString } from '../../cni/json.ts'
import { ioError, isGone } from '../../ipam/files.ts'
import { formatCidr, network, parseCidr } from '../../netlink/ip.ts'

/** Bytes; flanneld writes some two hundred. */
const MAX_SIZE = 1 << 16

/** The node's part of a flannel network. Prefixes have no host bits. */
export interface SubnetEnv {
  /** Of the whole network, IPv4 before IPv6, in the file's order, none twice. */
  readonly networks: readonly string[]
  /** The node's own, of each family that there is. */
  readonly subnets: readonly string[]
  /** Bytes. */
  readonly mtu: number
  /** Whether flanneld masquerades. */
  readonly ipMasq: boolean
}

const wrong = (path: string, what: string): CniError =>
  new CniError({
    code: codes.invalidConfig,
    msg: `${path}: ${what}`,
    details: 'flanneld writes this file; remove it and restart flanneld',
  })

const prefixOf = (value: string, bytes: 4 | 16): string | null => {
  const cidr = parseCidr(value)
  return cidr?.ip.length === bytes ? formatCidr({ ip: network(cidr), prefix: cidr.prefix }) : null
}

/** Known keys; what they take, and how it is read: null where it can't be. */
const list = (bytes: 4 | 16) => (value: string) => {
  const prefixes = value.split(',').map((one) => prefixOf(one, bytes))
  return prefixes.includes(null) ? null : [...new Set(prefixes as string[])]
}
const one = (bytes: 4 | 16) => (value: string) => {
  const prefix = prefixOf(value, bytes)
  return prefix === null ? null : [prefix]
}
const prefixes = {
  FLANNEL_NETWORK: { what: 'IPv4 prefixes', read: list(4) },
  FLANNEL_SUBNET: { what: 'an IPv4 address with its prefix length', read: one(4) },
  FLANNEL_IPV6_NETWORK: { what: 'IPv6 prefixes', read: list(16) },
  FLANNEL_IPV6_SUBNET: { what: 'an IPv6 address with its prefix length', read: one(16) },
} as const
const isPrefixKey = (key: string): key is keyof typeof prefixes => Object.hasOwn(prefixes, key)

/**
 * Reads the text of a subnet file. Other keys and lines are passed over; of a key that comes twice, the last counts.
 * @param path for errors
 * @throws CniError code 7: `/run/flannel/subnet.env is missing FLANNEL_MTU`
 */
export const parseSubnetFile = (text: string, path: string): SubnetEnv => {
  const found: Partial<Record<keyof typeof prefixes, readonly string[]>> = {}
  let mtu: number | undefined
  let ipMasq: boolean | undefined
  for (const line of text.split(/\r?\n/)) {
    const [, key = '', value = ''] = /^(FLANNEL_\w+)(?:=(.*))?$/.exec(line) ?? []
    const say = (what: string) => wrong(path, `${key} is ${goString(value.slice(0, 80))}, not ${what}`)
    if (isPrefixKey(key)) {
      const read = prefixes[key].read(value)
      if (!read) throw say(prefixes[key].what)
      found[key] = read
    } else if (key === 'FLANNEL_MTU') {
      mtu = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
      if (!(mtu <= 0x7fff_ffff)) throw say('a number of bytes')
    } else if (key === 'FLANNEL_IPMASQ') {
      if (value !== 'true' && value !== 'false') throw say('true or false')
      ipMasq = value === 'true'
    }
  }
  const networks = [...(found.FLANNEL_NETWORK ?? []), ...(found.FLANNEL_IPV6_NETWORK ?? [])]
  const subnets = [...(found.FLANNEL_SUBNET ?? []), ...(found.FLANNEL_IPV6_SUBNET ?? [])]
  if (networks.length > 0 && subnets.length > 0 && mtu !== undefined && ipMasq !== undefined)
    return { networks, subnets, mtu, ipMasq }
  const missing = [
    ...(networks.length === 0 ? ['FLANNEL_NETWORK', 'FLANNEL_IPV6_NETWORK'] : []),
    ...(subnets.length === 0 ? ['FLANNEL_SUBNET', 'FLANNEL_IPV6_SUBNET'] : []),
    ...(mtu === undefined ? ['FLANNEL_MTU'] : []),
    ...(ipMasq === undefined ? ['FLANNEL_IPMASQ'] : []),
  ]
  throw new CniError({
    code: codes.invalidConfig,
    msg: `${path} is missing ${missing.join(', ')}`,
    details: 'flanneld writes this file; remove it and restart flanneld',
  })
}

const readRegular = (path: string): string => {
  // Not to wait where somebody put a named pipe.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stat = fstatSync(file)
    if (!stat.isFile() || stat.size > MAX_SIZE) throw wrong(path, 'this is no subnet file')
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

/**
 * Reads the subnet file.
 * @throws CniError code 11 where there is none (yet); 5 where it can't be read; 7 for what it says
 */
export const readSubnetFile = (path: string): SubnetEnv => {
  try {
    return parseSubnetFile(readRegular(path), path)
  } catch (cause) {
    const { code, msg, details } = cause instanceof CniError ? cause : ioError(cause, path)
    throw new CniError({
      code: isGone(cause) ? codes.tryAgainLater : code,
      // As the Go plugin puts it.
      msg: `failed to load flannel 'subnet.env' file: ${msg}. Check the flannel pod log for this node.`,
      details: isGone(cause)
        ? 'flanneld writes this file when it has a subnet for this node: does it run here, and with this file?'
        : details,
      cause,
    })
  }
}
