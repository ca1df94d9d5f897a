/** The gateways' addresses, on the bridge or on the interface of a VLAN. */
import { CniError, codes } from '../../cni/error.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { type Address, address, type BriefLink, familyOf, isErrno } from '../../netlink/index.ts'
import type { BridgeAttachment } from './conf.ts'
import type { Bridge } from './device.ts'
import { conflicts } from './gateways.ts'
import type { Hold } from './hold.ts'

/** Where the addresses belong. */
export interface GatewayPlace {
  readonly bridge: Bridge
  /** The bridge, or the interface of a VLAN. */
  readonly target: BriefLink
}

const tolerant = async (request: Promise<void>, ...accepted: string[]): Promise<void> => {
  try {
    await request
  } catch (error) {
    if (!isErrno(error, ...accepted)) throw error
  }
}

/** The request that gives an address back as it was. */
const restore = (was: Address) => {
  const options = address.restate(was)
  return address.add({ ...options, flags: { ...options.flags, nodad: was.family === 6 || was.flags.nodad } })
}

/**
 * Gives a bridge (or its VLAN interface) the gateways' addresses.
 * @param wanted `address/prefix`, as {@link address.list} prints them
 * @param present what it has
 * @throws CniError where another address is in the way and forceAddress is not set
 */
export const ensureAddresses = async (
  { conf, host }: BridgeAttachment,
  hold: Hold,
  { bridge, target }: GatewayPlace,
  wanted: readonly string[],
  present: readonly Address[],
): Promise<void> => {
  const { index, name } = target
  const missing = wanted.filter((cidr) => !present.some((have) => have.address === cidr))
  if (missing.length === 0) return
  // Several gateways of one network are not in each other's way.
  const foreign = present.filter(
    (have) => !wanted.includes(have.address) && missing.some((cidr) => conflicts(have.address, cidr)),
  )
  if (foreign.length > 0 && !conf.forceAddress)
    throw new CniError({
      code: codes.invalidConfig,
      msg: `failed to set ${target.index === bridge.index ? 'bridge' : 'vlan interface for bridge with'} addr: ${JSON.stringify(name)} already has an IP address different from ${missing.join(', ')}`,
      details: `it has ${foreign.map((have) => have.address).join(', ')}; remove it, or set "forceAddress": true to have it replaced`,
    })
  const add = (cidr: string): Step => ({
    request: address.add({
      index,
      address: cidr,
      broadcast: 'auto',
      flags: familyOf(cidr) === 6 && !conf.enabledad ? { nodad: true } : {},
    }),
    tolerate: ['EEXIST'],
    undo: [
      `remove ${cidr} from ${name}`,
      () =>
        hold.unlessShared(bridge.index, () =>
          tolerant(host.run(address.delete({ index, address: cidr })), 'EADDRNOTAVAIL', 'ENODEV'),
        ),
    ],
  })
  const replace = (have: Address): Step => ({
    request: address.delete(have),
    tolerate: ['EADDRNOTAVAIL'],
    undo: [
      `give ${name} its address ${have.address} back`,
      () => tolerant(host.run(restore(have)), 'EEXIST', 'ENODEV'),
    ],
  })
  // Undone last first: the primary address of a subnet has to be there before the secondary ones.
  await apply(host, hold.undo, [
    ...foreign.toReversed().map(replace),
    ...missing.map(add),
    // With a primary address the kernel may have removed one that is wanted.
    ...(foreign.length > 0
      ? wanted.filter((cidr) => !missing.includes(cidr)).map((cidr) => ({ ...add(cidr), undo: undefined }))
      : []),
  ])
}
