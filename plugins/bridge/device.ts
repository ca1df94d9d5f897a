/** The bridge itself: found or made, and given back when the ADD that made it fails. */
import { CniError, codes } from '../../cni/error.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { type BriefLink, isErrno, link } from '../../netlink/index.ts'
import { findBrief, findLink } from '../shared/check.ts'
import { randomMac } from '../shared/identity.ts'
import { refuseAdvertisements } from '../shared/sysctl.ts'
import { deleteLink } from '../shared/veth.ts'
import type { BridgeAttachment, BridgeConf } from './conf.ts'
import { findOrMake } from './find-or-make.ts'
import { type Hold, portsOf } from './hold.ts'
import { wantsFiltering } from './vlans.ts'

/** What a bridge has that was never given a MAC and has lost its last port. */
const NO_MAC = '00:00:00:00:00:00'

/** A link that is a bridge. */
export type Bridge = Extract<BriefLink, { readonly kind: 'bridge' }>

/** @throws CniError where it is something else */
export const expectBridge = (found: BriefLink): Bridge => {
  if (found.kind !== 'bridge')
    throw new CniError({
      code: codes.invalidConfig,
      msg: `failed to create bridge ${JSON.stringify(found.name)}: ${JSON.stringify(found.name)} already exists but is not a bridge`,
      details: `it is: ${found.kind ?? 'hardware'}; choose another name for "bridge"`,
    })
  return found as Bridge
}

/** Says what is missing where the kernel can't do what a VLAN needs. */
const explained = (error: unknown, conf: BridgeConf): unknown =>
  wantsFiltering(conf) && isErrno(error, 'EOPNOTSUPP')
    ? new CniError({
        code: codes.internal,
        msg: (error as Error).message,
        details:
          'bridges of this kernel do not filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING): do without vlan and vlanTrunk',
        cause: error,
      })
    : error

/** What an existing bridge lacks of what the configuration needs. */
const repairs = (attachment: BridgeAttachment, hold: Hold, found: Bridge): Step[] => {
  const { conf, host } = attachment
  const { index, name } = found
  const takeBack = (what: string, request: () => Promise<void>): NonNullable<Step['undo']> => [
    `${what} of ${name}`,
    () =>
      hold.unlessShared(index, async () => {
        if (await findLink(host, index)) await request()
      }),
  ]
  const filter = (vlanFiltering: boolean) => link.setKind(index, { kind: 'bridge', data: { vlanFiltering } })
  const set = (options: link.SetOptions) => link.set(index, options)
  return [
    ...(wantsFiltering(conf) && !found.data?.vlanFiltering
      ? [{ request: filter(true), undo: takeBack('no VLAN filtering', () => host.run(filter(false))) }]
      : []),
    ...(conf.promiscMode && !found.flags.promisc
      ? [
          {
            request: set({ promisc: true }),
            undo: takeBack('not promiscuous', () => host.run(set({ promisc: false }))),
          },
        ]
      : []),
    ...(found.up
      ? []
      : [{ request: set({ up: true }), undo: takeBack('down', () => host.run(set({ up: false }))) }]),
  ]
}

/**
 * Completes a bridge that is there. Its MTU is left as it is.
 * @param made MAC of the bridge that this ADD has made, if it has
 */
const complete = async (
  attachment: BridgeAttachment,
  hold: Hold,
  found: Bridge,
  made?: string,
): Promise<Bridge> => {
  const { conf, host, hostNetns, log } = attachment
  if (conf.mtu !== 0 && conf.mtu !== found.mtu)
    log.warn(`bridge ${found.name} has an MTU of ${found.mtu}; the configuration says ${conf.mtu}`)
  // The answer tells the setting already; a file costs more.
  const refuses = found.afSpec?.inet6?.conf?.acceptRa === 0
  const giveBack = refuses ? null : refuseAdvertisements(hostNetns, log, found.name)
  if (giveBack)
    hold.undo.push(`give ${found.name} its accept_ra back`, () => hold.unlessShared(found.index, giveBack))
  // One that nobody gave a MAC has its lowest port's: it would get the first container's now, and another one later.
  const pinned = found.address === made || found.carrier
  const address = found.address === NO_MAC ? randomMac() : found.address
  const steps = repairs(attachment, hold, found)
  await apply(host, hold.undo, [
    ...(pinned ? [] : [{ request: link.set(found.index, { address }) }]),
    ...steps,
  ])
  if (steps.length === 0 && (pinned || address === found.address)) return found
  return expectBridge(await host.run(link.getBrief(found.index)))
}

/** @throws NetlinkError, EEXIST where another ADD has made it at the same moment */
const create = async (attachment: BridgeAttachment, hold: Hold, address: string): Promise<void> => {
  const { conf, host } = attachment
  const name = conf.bridge
  const request = link.add({
    kind: 'bridge',
    name,
    address,
    mtu: conf.mtu || undefined,
    up: true,
    promisc: conf.promiscMode || undefined,
    data: wantsFiltering(conf) ? { vlanFiltering: true } : {},
  })
  const remove = async (): Promise<void> => {
    const made = await findLink(host, name)
    if (made?.address !== address) return
    await hold.unlessShared(made.index, async () => {
      if ((await portsOf(attachment, made.index)).length === 0) await deleteLink(host, made.index)
    })
  }
  await apply(host, hold.undo, [{ request, undo: [`delete bridge ${name}`, remove] }])
}

/**
 * The bridge of the configuration, up. Made with a MAC of its own, so that it does not follow its ports'.
 * Equivalent: `ip link add cni0 up address MAC [mtu N] type bridge [vlan_filtering 1]`.
 * @throws CniError, NetlinkError
 */
export const ensureBridge = async (attachment: BridgeAttachment, hold: Hold): Promise<Bridge> => {
  const { conf, host } = attachment
  const { bridge: name } = conf
  let made: string | undefined
  try {
    const found = await findOrMake({
      what: `bridge ${name}`,
      find: () => findBrief(host, name),
      make: () => {
        made ??= randomMac()
        return create(attachment, hold, made)
      },
    })
    return await complete(attachment, hold, expectBridge(found), made)
  } catch (error) {
    throw explained(error, conf)
  }
}
