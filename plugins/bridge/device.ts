/** The bridge itself: found or made, and given back when the ADD that made it fails. */
import { CniError } from '../../cni/error.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { address, isErrno, type Link, link } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { randomMac } from '../shared/identity.ts'
import { deleteLink } from '../shared/veth.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'
import { conflicts } from './gateways.ts'
import { wantsFiltering } from './vlans.ts'

const TRIES = 5
/** Milliseconds that an ADD waits for another one that takes its bridge back. */
const LOCK_TIMEOUT = 10_000

/** A link that is a bridge. */
export type Bridge = Extract<Link, { readonly kind: 'bridge' }>

/** @throws CniError where it is something else */
export const expectBridge = (found: Link): Bridge => {
  if (found.kind !== 'bridge')
    throw new CniError({
      code: 7,
      msg: `${JSON.stringify(found.name)} already exists but is not a bridge`,
      details: `it is: ${found.kind ?? 'hardware'}; choose another name for "bridge"`,
    })
  return found as Bridge
}

/** What an existing bridge lacks of what the configuration needs. */
const repairs = (found: Bridge, conf: BridgeConf): Step[] => [
  ...(wantsFiltering(conf) && !found.data?.vlanFiltering
    ? [{ request: link.setKind(found.index, { kind: 'bridge', data: { vlanFiltering: true } }) }]
    : []),
  ...(conf.promiscMode && !found.flags.promisc
    ? [{ request: link.set(found.index, { promisc: true }) }]
    : []),
  ...(found.up ? [] : [{ request: link.set(found.index, { up: true }) }]),
]

/**
 * Keeps bridges from being taken back by a failed ADD as long as this one goes on; every ADD holds it shared. Without
 * it, an ADD that finds a bridge could attach to it just when the one that made it removes it.
 */
export const holdBridges = ({ hostNetns, signal }: BridgeAttachment): Promise<{ release(): void }> =>
  hostNetns.lock('shared', { timeout: LOCK_TIMEOUT, signal })

/** Runs `undo` only where no other ADD is at work on the host's bridges. */
export const whenAlone = async (
  { hostNetns }: BridgeAttachment,
  undo: () => Promise<void>,
): Promise<void> => {
  const lock = hostNetns.tryLock('exclusive')
  if (!lock) return
  try {
    await undo()
  } finally {
    lock.release()
  }
}

/** The ports of a bridge. */
export const portsOf = async ({ host }: BridgeAttachment, index: number): Promise<readonly Link[]> =>
  host.run(link.list({ master: index }))

/**
 * The bridge of the configuration, up. Made with a MAC of its own, so that it does not follow its ports'. A bridge that
 * is there is completed where it has to be; its MTU is left as it is.
 * Equivalent: `ip link add cni0 up address MAC [mtu N] type bridge [vlan_filtering 1]`.
 * @throws CniError, NetlinkError
 */
export const ensureBridge = async (attachment: BridgeAttachment): Promise<Bridge> => {
  const { conf, host, hostNetns, undo, log } = attachment
  const name = conf.bridge
  for (let attempt = 1; ; attempt++) {
    const found = await findLink(host, name)
    if (found) {
      const bridge = expectBridge(found)
      if (conf.mtu !== 0 && conf.mtu !== bridge.mtu)
        log.warn(`bridge ${name} keeps its MTU of ${bridge.mtu}; the configuration says ${conf.mtu}`)
      const steps = repairs(bridge, conf)
      if (steps.length > 0) await apply(host, undo, steps)
      return bridge
    }
    const request = link.add({
      kind: 'bridge',
      name,
      address: randomMac(),
      mtu: conf.mtu || undefined,
      up: true,
      promisc: conf.promiscMode || undefined,
      data: wantsFiltering(conf) ? { vlanFiltering: true } : {},
    })
    const remove = async (): Promise<void> => {
      const made = await findLink(host, name)
      if (made && (await portsOf(attachment, made.index)).length === 0) await deleteLink(host, made.index)
    }
    try {
      await apply(host, undo, [
        { request, undo: [`delete bridge ${name}`, () => whenAlone(attachment, remove)] },
      ])
    } catch (error) {
      // Another ADD made it at the same moment.
      if (attempt < TRIES && isErrno(error, 'EEXIST')) continue
      throw error
    }
    // A router advertisement must not give the host routes over its own containers. Without IPv6 there are none.
    hostNetns.writeSysctls([{ name: `net/ipv6/conf/${name}/accept_ra`, value: '0' }])
  }
}

/**
 * Gives a bridge (or its VLAN interface) the gateways' addresses.
 * @throws CniError where another address is in the way and forceAddress is not set
 */
export const ensureAddresses = async (
  attachment: BridgeAttachment,
  target: Pick<Link, 'index' | 'name'>,
  wanted: readonly string[],
): Promise<void> => {
  const { conf, host, undo } = attachment
  const present = await host.run(address.list({ index: target.index }))
  const missing = wanted.filter((cidr) => !present.some((own) => own.address === cidr))
  if (missing.length === 0) return
  const inTheWay = present.filter((own) => missing.some((cidr) => conflicts(own.address, cidr)))
  // Several gateways of one network are not in each other's way.
  const foreign = inTheWay.filter((own) => !wanted.includes(own.address))
  if (foreign.length > 0 && !conf.forceAddress)
    throw new CniError({
      code: 7,
      msg: `${JSON.stringify(target.name)} already has an IP address different from ${missing.join(', ')}`,
      details: `it has ${foreign.map((own) => own.address).join(', ')}; remove it, or set "forceAddress": true to have it replaced`,
    })
  const before = (await portsOf(attachment, target.index)).map(({ index }) => index)
  // What another ADD relies on by now stays: whoever came since has found the address in place.
  const untouched = async (change: () => Promise<void>): Promise<void> => {
    const now = await portsOf(attachment, target.index)
    if (now.every(({ index }) => before.includes(index))) await change()
  }
  const add = (cidr: string) =>
    address.add({
      index: target.index,
      address: cidr,
      broadcast: 'auto',
      flags: conf.enabledad ? {} : { nodad: true },
    })
  await apply(host, undo, [
    ...foreign.map(
      (own): Step => ({
        request: address.delete(own),
        tolerate: ['EADDRNOTAVAIL'],
        undo: [
          `give ${target.name} its address ${own.address} back`,
          () =>
            whenAlone(attachment, () =>
              untouched(() => tolerant(host.run(add(own.address)), 'EEXIST', 'ENODEV')),
            ),
        ],
      }),
    ),
    ...missing.map(
      (cidr): Step => ({
        request: add(cidr),
        tolerate: ['EEXIST'],
        undo: [
          `remove ${cidr} from ${target.name}`,
          () =>
            whenAlone(attachment, () =>
              untouched(() =>
                tolerant(
                  host.run(address.delete({ index: target.index, address: cidr })),
                  'EADDRNOTAVAIL',
                  'ENODEV',
                ),
              ),
            ),
        ],
      }),
    ),
  ])
}

const tolerant = async (request: Promise<void>, ...codes: string[]): Promise<void> => {
  try {
    await request
  } catch (error) {
    if (!isErrno(error, ...codes)) throw error
  }
}
