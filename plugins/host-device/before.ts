/** What a device loses when it leaves the host's namespace, for an ADD that fails. */
import type { Attachment } from '../../cni/plugin.ts'
import { type Address, address, isErrno, type Link, link, type Route, route } from '../../netlink/index.ts'

export interface Belongings {
  readonly master: number | undefined
  readonly addresses: readonly Address[]
  readonly routes: readonly Route[]
}

/** Looks at what a device has; what the kernel has made by itself comes back by itself. */
export const belongingsOf = async (
  { host }: Attachment<unknown>,
  { index, master }: Link,
): Promise<Belongings> => {
  const [addresses, routes] = await Promise.all([
    host.run(address.list({ index })),
    host.run(route.list({ index })),
  ])
  return {
    master,
    addresses: addresses.filter(({ flags, scope }) => flags.permanent && scope !== 'link'),
    routes: routes.filter(
      (one) =>
        one.protocol !== 'kernel' &&
        one.nexthops.length === 0 &&
        one.nexthopId === undefined &&
        route.isRestatable(one),
    ),
  }
}

/** Gives them back. @throws NetlinkError the first that was refused, after all were tried */
export const giveBack = async (
  { host }: Attachment<unknown>,
  index: number,
  had: Belongings,
): Promise<void> => {
  const requests = [
    ...(had.master === undefined ? [] : [link.set(index, { master: had.master })]),
    ...had.addresses.map((own) => address.add({ ...address.restate(own), index })),
    // A device that comes back may have another number.
    ...had.routes.map((own) => route.append({ ...route.restate(own), index })),
  ]
  if (requests.length === 0) return
  const outcomes = await host.batch(requests)
  const failure = outcomes.find((outcome) => !outcome.ok && !isErrno(outcome.error, 'EEXIST'))
  if (failure && !failure.ok) throw failure.error
}
