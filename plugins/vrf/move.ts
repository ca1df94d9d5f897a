/**
 * What an interface loses when it changes its VRF. The kernel takes it down and up again, so that addresses and routes
 * come to the right tables: IPv4 addresses stay, IPv6 ones only where `keep_addr_on_down` says so, and no route but those
 * that follow from an address.
 */
import type { Step } from '../../cni/undo.ts'
import { type Address, address, type Link, link, type Route, route } from '../../netlink/index.ts'
import type { VrfAttachment } from './conf.ts'

/** RT_TABLE_MAIN and RT_TABLE_LOCAL, linux/rtnetlink.h. */
const MAIN = 254
const LOCAL = 255

/** What is to be there again. */
export interface Held {
  readonly addresses: readonly Address[]
  readonly routes: readonly Route[]
}

const goesOver = ({ index, nexthops }: Route, own: number): boolean =>
  nexthops.length > 0 ? nexthops.some((way) => way.index === own) : index === own

/**
 * What the kernel makes by itself: routes of addresses, and what a router advertises, which is asked again when the
 * interface comes up.
 */
const isKernels = ({ protocol, flags }: Route): boolean =>
  protocol === 'kernel' || protocol === 'ra' || protocol === 'redirect' || flags.cloned

/** The IPv6 addresses and the routes of an interface that it may lose. */
export const hold = async ({ container }: VrfAttachment, { index }: Link): Promise<Held> => {
  const addresses = await container.run(address.list({ index, family: 6 }))
  const routes = await container.run(route.list())
  return {
    // Temporary ones (RFC 8981) are made of others by the kernel.
    addresses: addresses.filter(({ flags }) => !flags.secondary),
    routes: routes.filter(
      (one) => one.table !== LOCAL && goesOver(one, index) && !isKernels(one) && route.isRestatable(one),
    ),
  }
}

/** An address that was found to be nobody else's a moment ago is not asked for again. */
const addressStep = (held: Address): Step => {
  const { nodad, tentative } = held.flags
  const options = address.restate(held)
  return {
    request: address.add({ ...options, flags: { ...options.flags, nodad: nodad || !tentative } }),
    tolerate: ['EEXIST'],
  }
}

const isDirect = ({ gateway, nexthops, nexthopId }: Route): boolean =>
  gateway === undefined && nexthops.length === 0 && nexthopId === undefined

/**
 * What gives the interface back what it has lost; what it still has is no error.
 * @param table where the main table's routes go: the VRF's
 */
export const restore = ({ addresses, routes }: Held, table = MAIN): Step[] => [
  ...addresses.map(addressStep),
  // Gateways are reached by the others.
  ...[...routes.filter(isDirect), ...routes.filter((one) => !isDirect(one))].map((one) => ({
    request: route.append({ ...route.restate(one), table: one.table === MAIN ? table : one.table }),
    tolerate: ['EEXIST'],
  })),
]

/** Takes the interface out of whatever VRF it is in, with what it had before. */
export const giveBack =
  ({ container }: VrfAttachment, { index }: Link, held: Held) =>
  async (): Promise<void> => {
    const steps = [{ request: link.set(index, { master: null }) }, ...restore(held)]
    const outcomes = await container.batch(steps.map(({ request }) => request))
    // With the interface all of it has gone.
    const failed = outcomes.find((outcome) => !outcome.ok && !['EEXIST', 'ENODEV'].includes(outcome.code))
    if (failed && !failed.ok) throw failed.error
  }
