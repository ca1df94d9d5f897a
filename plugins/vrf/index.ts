/** `vrf`: puts the interface into a VRF, a routing domain of its own in the container. */
import { CniError, codes } from '../../cni/error.ts'
import { definePlugin } from '../../cni/plugin.ts'
import { apply } from '../../cni/undo.ts'
import { type Link, link, waitForRoute } from '../../netlink/index.ts'
import { alone } from '../shared/alone.ts'
import { chainedResult } from '../shared/chained.ts'
import { checkKind, explainLink } from '../shared/lower.ts'
import { containerNetns } from '../shared/netns.ts'
import { giveBack as giveSysctlBack, preferSysctls } from '../shared/sysctl.ts'
import { check } from './check.ts'
import { type VrfAttachment, vrfConf } from './conf.ts'
import { checkName, planVrf } from './device.ts'
import { giveBack, type Held, hold, restore } from './move.ts'
import { remove } from './remove.ts'

/** Milliseconds for the kernel to make the routes of IPv6 addresses. It does so in a moment, from a work queue. */
const ROUTES_TIMEOUT = 10_000

/** The interface that is to go into the VRF. @throws CniError where it is not there, or is somebody's port */
const requireFree = ({ ifName }: VrfAttachment, links: readonly Link[]): Link => {
  const found = links.find(({ name }) => name === ifName)
  if (!found)
    throw new CniError({
      code: codes.internal,
      msg: `cmdAdd failed: could not get link by name ${ifName}`,
      details: 'an earlier plugin of the chain has to make it, or to put it into the container',
    })
  if (!found.master) return found
  const master = links.find(({ index }) => index === found.master)
  throw new CniError({
    code: codes.internal,
    msg: `cmdAdd failed: interface ${ifName} has already a master set: ${master?.name ?? found.master}`,
    details: `ip link set ${ifName} nomaster`,
  })
}

/** Those that can be used now. */
const usable = ({ addresses }: Held) => addresses.filter(({ flags }) => !flags.tentative)

/**
 * Lets the kernel not look for duplicates of addresses that it has looked for already: they would be of no use for a
 * second or two. Equivalent: `sysctl -w net.ipv6.conf.NAME.accept_dad=0`.
 * @returns what gives the setting back
 */
const withoutProbing = (attachment: VrfAttachment, held: Held): (() => void) => {
  const { ifName, undo, log } = attachment
  if (held.addresses.length === 0 || usable(held).length < held.addresses.length) return () => {}
  const netns = containerNetns(attachment)
  const name = `net/ipv6/conf/${ifName}/accept_dad`
  const [before] = preferSysctls(netns, log, [{ name, value: '0' }])
  if (before === undefined || before === '0') return () => {}
  const back = giveSysctlBack(netns, name, before)
  undo.push(`give ${name} back`, back)
  return back
}

/** Until what comes to the IPv6 addresses finds its way: the kernel makes their routes in its own time. */
const waitForAddresses = async (attachment: VrfAttachment, held: Held, table: number): Promise<void> => {
  const { container: connection, signal } = attachment
  const wanted = usable(held).map(({ ip }) => `${ip}/128`)
  if (wanted.length === 0) return
  await waitForRoute(
    { netns: containerNetns(attachment), connection },
    { family: 6, table },
    (routes) => wanted.every((dst) => routes.some((one) => one.dst === dst && one.type === 'local')),
    { timeout: ROUTES_TIMEOUT, signal },
  )
}

const join = async (attachment: VrfAttachment): Promise<void> => {
  const { container, undo, ifName, conf } = attachment
  const links = await container.run(link.list())
  const own = requireFree(attachment, links)
  const vrf = await planVrf(attachment, links)
  const held = await hold(attachment, own)
  const probeAgain = withoutProbing(attachment, held)
  try {
    await apply(container, undo, [
      ...vrf.steps,
      {
        request: link.set(own.index, { master: vrf.index }),
        undo: [`take ${ifName} out of VRF ${conf.vrfname}`, giveBack(attachment, own, held)],
      },
    ])
    // Only now: routes in the table of a VRF that was not joined would stay there.
    await apply(container, undo, restore(held, vrf.table))
  } catch (error) {
    throw explainLink(error, 'vrf', null)
  }
  if (own.up) await waitForAddresses(attachment, held, vrf.table)
  probeAgain()
}

/** The vrf plugin. */
export const vrf = definePlugin({
  type: 'vrf',
  kind: 'interface',
  versions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  conf: vrfConf,

  async add(attachment: VrfAttachment) {
    checkName(attachment)
    const result = chainedResult(attachment, 'missing prevResult from earlier plugin')
    await alone(attachment, () => join(attachment))
    return result
  },

  check,
  del: remove,

  async status(context) {
    checkName(context)
    await checkKind('vrf')
  },
})
