/** What a device loses when it leaves the host's namespace, for an ADD that fails. */
import type { Attachment } from '../../cni/plugin.ts'
import {
  type Address,
  address,
  isErrno,
  type Link,
  link,
  type Request,
  type Route,
  route,
} from '../../netlink/index.ts'

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
    routes: routes.filter(({ protocol, nexthops }) => protocol !== 'kernel' && nexthops.length === 0),
  }
}

const addressRequest = (index: number, own: Address): Request<void> =>
  address.add({
    index,
    address: own.peer === undefined ? `${own.ip}/${own.prefixLength}` : own.address,
    peer: own.peer,
    label: own.label,
    broadcast: own.broadcast,
    scope: own.scope,
    metric: own.metric,
    flags: { nodad: own.flags.nodad, noprefixroute: own.flags.noprefixroute },
  })

const routeRequest = (index: number, own: Route): Request<void> =>
  route.add({
    dst: own.dst,
    family: own.family,
    gateway: own.gateway,
    index,
    preferredSource: own.preferredSource,
    priority: own.priority,
    table: own.table,
    scope: own.scope,
    protocol: own.protocol,
    type: own.type,
    metrics: own.metrics,
    src: own.src,
    tos: own.tos,
    mode: 'append',
  })

/** Gives them back. @throws NetlinkError the first that was refused, after all were tried */
export const giveBack = async (
  { host }: Attachment<unknown>,
  index: number,
  had: Belongings,
): Promise<void> => {
  const requests = [
    ...(had.master === undefined ? [] : [link.set(index, { master: had.master })]),
    ...had.addresses.map((own) => addressRequest(index, own)),
    ...had.routes.map((own) => routeRequest(index, own)),
  ]
  if (requests.length === 0) return
  const outcomes = await host.batch(requests)
  const failure = outcomes.find((outcome) => !outcome.ok && !isErrno(outcome.error, 'EEXIST'))
  if (failure && !failure.ok) throw failure.error
}
