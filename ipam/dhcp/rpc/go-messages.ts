/**
 * The messages of Go's DHCP daemon: those of net/rpc, skel.CmdArgs, and a result with types100's fields. The numbers
 * are those that a Go program would give them; any above 64 would do.
 */

import type { IpConfig, Result, Route } from '../../../cni/types.ts'
import { formatIp, parseCidr, parseIp } from '../../../netlink/ip.ts'
import { bytes, type Gob, GobError, int, pointer, slice, struct, text, uint } from './gob.ts'

/** Heads every call. */
export const request = struct(65, 'Request', { ServiceMethod: text, Seq: uint })

/** Arguments of both methods. */
export const cmdArgs = struct(66, 'CmdArgs', {
  ContainerID: text,
  Netns: text,
  IfName: text,
  Args: text,
  Path: text,
  NetnsOverride: text,
  StdinData: bytes,
})
export type CmdArgs = Gob<typeof cmdArgs>

/** Heads every reply; with an error, what follows is {@link empty}. */
export const response = struct(67, 'Response', { ServiceMethod: text, Seq: uint, Error: text })

const ipNet = struct(73, 'IPNet', { IP: bytes, Mask: bytes })
const texts = slice(77, '[]string', text)

/** Reply to `DHCP.Allocate`. */
export const goResult = struct(68, 'Result', {
  CNIVersion: text,
  Interfaces: slice(
    69,
    '[]*types100.Interface',
    struct(70, 'Interface', {
      Name: text,
      Mac: text,
      Mtu: int,
      Sandbox: text,
      SocketPath: text,
      PciID: text,
    }),
  ),
  IPs: slice(
    71,
    '[]*types100.IPConfig',
    struct(72, 'IPConfig', { Interface: pointer(int), Address: ipNet, Gateway: bytes }),
  ),
  Routes: slice(
    74,
    '[]*types.Route',
    struct(75, 'Route', {
      Dst: ipNet,
      GW: bytes,
      MTU: int,
      AdvMSS: int,
      Priority: int,
      Table: pointer(int),
      Scope: pointer(int),
    }),
  ),
  DNS: struct(76, 'DNS', { Nameservers: texts, Domain: text, Search: texts, Options: texts }),
})
export type GoResult = Gob<typeof goResult>
type GoIpConfig = GoResult['IPs'][number]
type GoRoute = GoResult['Routes'][number]
type IpNet = Gob<typeof ipNet>

/** What Go's daemon says where no server gave a lease in time; callers of its plugin know these words. */
export const NO_MORE_TRIES = 'no more tries'

/** `struct{}`: reply to `DHCP.Release`, and what follows an error. */
export const empty = struct(78, '', {})

const mask = (prefix: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => 0xff & (0xff00 >> Math.min(8, Math.max(0, prefix - i * 8))))

const toIpNet = (text: string): IpNet => {
  const cidr = parseCidr(text)
  if (!cidr) throw new RangeError(`${JSON.stringify(text)} is not an IP address with a prefix length`)
  return { IP: cidr.ip, Mask: mask(cidr.prefix, cidr.ip.length) }
}

const toIp = (text: string | undefined): Uint8Array => {
  if (!text) return bytes.zero
  const ip = parseIp(text)
  if (!ip) throw new RangeError(`${JSON.stringify(text)} is not an IP address`)
  return ip
}

/**
 * A result as Go's plugin takes it. Its version stays empty, so that the plugin's own remains.
 * @throws RangeError for an address that is none
 */
export const toGoResult = ({ interfaces = [], ips = [], routes = [], dns = {} }: Result): GoResult => ({
  CNIVersion: '',
  Interfaces: interfaces.map(({ name, mac, mtu, sandbox, socketPath, pciID }) => ({
    Name: name,
    Mac: mac ?? '',
    Mtu: mtu ?? 0,
    Sandbox: sandbox ?? '',
    SocketPath: socketPath ?? '',
    PciID: pciID ?? '',
  })),
  IPs: ips.map(
    ({ address, gateway, interface: index }): GoIpConfig => ({
      Interface: index,
      Address: toIpNet(address),
      Gateway: toIp(gateway),
    }),
  ),
  Routes: routes.map(
    ({ dst, gw, mtu, advmss, priority, table, scope }): GoRoute => ({
      Dst: toIpNet(dst),
      GW: toIp(gw),
      MTU: mtu ?? 0,
      AdvMSS: advmss ?? 0,
      Priority: priority ?? 0,
      Table: table,
      Scope: scope,
    }),
  ),
  DNS: {
    Nameservers: dns.nameservers ?? [],
    Domain: dns.domain ?? '',
    Search: dns.search ?? [],
    Options: dns.options ?? [],
  },
})

const fromIp = (ip: Uint8Array): string | undefined => {
  if (ip.length === 0) return undefined
  if (ip.length !== 4 && ip.length !== 16) throw new GobError(`an IP address of ${ip.length} bytes`)
  return formatIp(ip)
}

/** Length of a prefix by its mask. */
const prefixOf = (mask: Uint8Array): number => {
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  if (!/^1*0*$/.test(bits)) throw new GobError('a mask that is no prefix')
  return bits.lastIndexOf('1') + 1
}

const fromIpNet = ({ IP, Mask }: IpNet): string => {
  const ip = fromIp(IP)
  // Go keeps IPv4 addresses in 16 bytes as well as in 4, and masks too.
  const length = ip?.includes(':') ? 16 : 4
  if (ip === undefined || Mask.length < length) throw new GobError('an address without its prefix')
  return `${ip}/${prefixOf(Mask.subarray(Mask.length - length))}`
}

const fromIpConfig = ({ Interface, Address, Gateway }: GoIpConfig): IpConfig => ({
  address: fromIpNet(Address),
  gateway: fromIp(Gateway),
  interface: Interface,
})

const fromRoute = ({ Dst, GW, MTU, AdvMSS, Priority, Table, Scope }: GoRoute): Route => ({
  dst: fromIpNet(Dst),
  gw: fromIp(GW),
  mtu: MTU || undefined,
  advmss: AdvMSS || undefined,
  priority: Priority || undefined,
  table: Table,
  scope: Scope,
})

/** What Go's daemon gave. @throws GobError for an address that is none */
export const fromGoResult = ({ Interfaces, IPs, Routes, DNS }: GoResult): Result => ({
  interfaces: Interfaces.map(({ Name, Mac, Mtu, Sandbox, SocketPath, PciID }) => ({
    name: Name,
    mac: Mac || undefined,
    mtu: Mtu || undefined,
    sandbox: Sandbox || undefined,
    socketPath: SocketPath || undefined,
    pciID: PciID || undefined,
  })),
  ips: IPs.map(fromIpConfig),
  routes: Routes.map(fromRoute),
  dns: {
    nameservers: DNS.Nameservers,
    domain: DNS.Domain || undefined,
    search: DNS.Search,
    options: DNS.Options,
  },
})
