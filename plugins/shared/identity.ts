import { randomBytes } from 'node:crypto'
import type { AttachmentId } from '../../cni/types.ts'
import { formatMac } from '../../netlink/index.ts'

let pool = Buffer.alloc(0)
/** Random bytes. Drawn many at a time: a draw takes as long for a hundred as for six. */
export const draw = (count: number): Buffer => {
  if (pool.length < count) pool = randomBytes(256)
  const drawn = pool.subarray(0, count)
  pool = pool.subarray(count)
  return drawn
}

/**
 * An index for a new link, or an identifier of a namespace: of 16 bits, which is all that some eBPF programs keep, and of
 * the upper half, where the kernel's own count comes last.
 */
export const randomIndex = (): number => 0x8000 | draw(2).readUInt16LE()

/** A name for the host's end of a veth pair: `veth` and 8 hex digits, as the Go plugins make it. */
export const vethName = (): string => `veth${draw(4).toString('hex')}`

/** Whether it is such a name. */
export const isVethName = (name: string): boolean => /^veth[0-9a-f]{8}$/.test(name)

/**
 * A random locally administered unicast MAC. Given at creation it is pinned (`addr_assign_type` NET_ADDR_SET): a
 * bridge no longer follows its lowest port, and udev's MACAddressPolicy leaves the interface alone, so that the
 * address in the result stays true.
 */
export const randomMac = (): string => {
  const bytes = draw(6)
  bytes[0] = (bytes[0]! & 0xfe) | 0x02
  return formatMac(bytes)
}

/**
 * The same for a port, from the upper end of what there is: a bridge whose MAC is not pinned takes its lowest port's,
 * and a new container must not change the address that all others have in their caches.
 */
export const portMac = (): string => {
  const bytes = draw(6)
  bytes[0] = 0xfe
  return formatMac(bytes)
}

/** What the aliases of all our links begin with. */
export const aliasPrefix = 'linkwright:'

/** IFALIASZ of linux/if.h is 256, and the kernel takes what is shorter; the NUL that is sent with it counts. */
const MAX_ALIAS = 254

/**
 * The alias of what stays on the host for an attachment: it tells an operator whose it is (`ip link`), and lets GC and
 * a DEL that has lost the container's namespace find it. Undefined where it would not fit.
 */
export const ownerAlias = (network: string, { containerId, ifName }: AttachmentId): string | undefined => {
  const alias = `${aliasPrefix}${network}/${containerId}/${ifName}`
  return Buffer.byteLength(alias) > MAX_ALIAS ? undefined : alias
}

/** What an alias of ours says; undefined for another one. */
export const readAlias = (
  alias: string | undefined,
): ({ readonly network: string } & AttachmentId) | undefined => {
  if (!alias?.startsWith(aliasPrefix)) return undefined
  const [network, containerId, ifName, ...more] = alias.slice(aliasPrefix.length).split('/')
  return network && containerId && ifName && more.length === 0 ? { network, containerId, ifName } : undefined
}

/** Whose a link with this alias is; undefined where it is not ours or of another network. */
export const ownerOfAlias = (network: string, alias: string | undefined): AttachmentId | undefined => {
  const own = readAlias(alias)
  return own?.network === network ? { containerId: own.containerId, ifName: own.ifName } : undefined
}
