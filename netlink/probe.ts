/** What this kernel can make, found out by making it in a namespace that goes with the attempt. */
import { isErrno } from './error.ts'
import * as filter from './filter.ts'
import * as link from './link.ts'
import { Netns } from './netns.ts'
import * as qdisc from './qdisc.ts'
import type { Request } from './request.ts'
import { createTap } from './tun.ts'

/** Undefined: it works. An error: why not, EOPNOTSUPP or ENOENT where the kernel has no such thing. */
export type Outcomes<Name extends string> = Readonly<Record<Name, Error | undefined>>

/** Kinds of links, and what some of them do only in some kernels. */
export type LinkFeature =
  | 'veth'
  | 'bridge'
  | 'bridge-vlan-filtering'
  | 'macvlan'
  | 'ipvlan'
  | 'ipvlan-l3s'
  | 'vlan'
  | 'dummy'
  | 'vrf'
  | 'ifb'
  | 'tun'
  | 'vxlan'

/** What limits of bandwidth are made of. */
export type TrafficFeature = 'tbf' | 'htb' | 'ingress' | 'u32' | 'matchall' | 'mirred'

/** Each in a datagram of its own: what is missing must not keep the next from being tried. */
const attempt = async (connection: Connection, request: Request<void>): Promise<Error | undefined> => {
  const [outcome] = await connection.batch([request])
  return outcome.ok ? undefined : outcome.error
}
type Connection = ReturnType<Netns['connect']>

const tryTap = (netns: Netns): Error | undefined => {
  try {
    createTap(netns, { name: 'probe' }).close()
    return undefined
  } catch (error) {
    return error as Error
  }
}

/**
 * Makes a link of every kind. The kernel loads modules as it would for an attachment; nothing else stays.
 * Equivalent: `unshare -n ip link add type KIND`, for each.
 * @throws SystemError (EPERM: CAP_SYS_ADMIN is needed); SocketError
 */
export const probeLinks = async (): Promise<Outcomes<LinkFeature>> => {
  using netns = Netns.create()
  using connection = netns.connect()
  const make = (options: link.AddOptions) => attempt(connection, link.add(options))
  const veth = await make({
    kind: 'veth',
    name: 'veth',
    index: 10,
    data: { peer: { name: 'peer', index: 11 } },
  })
  const dummy = await make({ kind: 'dummy', name: 'dummy', index: 12 })
  const ifb = await make({ kind: 'ifb', name: 'ifb', index: 13 })
  const bridge = await make({ kind: 'bridge', name: 'bridge', index: 14 })
  const filtering =
    bridge ?? (await make({ kind: 'bridge', name: 'filtering', index: 15, data: { vlanFiltering: true } }))
  // A lower interface belongs to links of one kind: macvlan and ipvlan can't share it.
  const lowers = [
    ...(veth ? [] : [10, 11]),
    ...(dummy ? [] : [12]),
    ...(bridge ? [] : [14]),
    ...(ifb ? [] : [13]),
  ]
  const upon = async (which: number, options: link.AddOptions): Promise<Error | undefined> => {
    const lower = lowers[which]
    if (lower === undefined) return new Error('there is no interface to make it on: no veth, dummy or bridge')
    return await make({ ...options, link: lower })
  }
  const ipvlan = await upon(1, { kind: 'ipvlan', name: 'ipvlan', index: 21, data: { mode: 'l2' } })
  const ipvlanL3s = async (): Promise<Error | undefined> => {
    // All of a lower interface have one mode.
    await attempt(connection, link.delete(21))
    return await upon(1, { kind: 'ipvlan', name: 'l3s', index: 22, data: { mode: 'l3s' } })
  }
  return {
    veth,
    bridge,
    'bridge-vlan-filtering': filtering,
    macvlan: await upon(0, { kind: 'macvlan', name: 'macvlan', index: 20, data: { mode: 'bridge' } }),
    ipvlan,
    'ipvlan-l3s': ipvlan ?? (await ipvlanL3s()),
    vlan: await upon(0, { kind: 'vlan', name: 'vlan', index: 23, data: { id: 2 } }),
    dummy,
    vrf: await make({ kind: 'vrf', name: 'vrf', index: 16, data: { table: 100 } }),
    ifb,
    tun: tryTap(netns),
    vxlan: await make({ kind: 'vxlan', name: 'vxlan', index: 17, data: { id: 1, port: 4789 } }),
  }
}

const INGRESS = 'ffff:'

/**
 * Makes queueing disciplines, filters and an action on a link. As {@link probeLinks}.
 * Equivalent: `unshare -n tc qdisc add dev LINK root tbf …` and so on.
 * @throws SystemError (EPERM: CAP_SYS_ADMIN is needed); SocketError; Error where no link could be made to try on
 */
export const probeTrafficControl = async (): Promise<Outcomes<TrafficFeature>> => {
  using netns = Netns.create()
  using connection = netns.connect()
  const run = (request: Request<void>) => attempt(connection, request)
  const index = 2
  let none: Error | undefined
  for (const kind of ['veth', 'dummy', 'ifb', 'bridge'] as const) {
    none = await run(link.add({ kind, name: 'probe', index }))
    if (!none) break
  }
  if (none) throw none
  const tbf = await run(
    qdisc.add({
      index,
      parent: 'root',
      handle: '1:',
      kind: 'tbf',
      data: { rate: 125_000n, limit: 10_000, buffer: qdisc.toTicks(10_000) },
    }),
  )
  if (!tbf) await run(qdisc.delete({ index, parent: 'root' }))
  const htb = await run(
    qdisc.add({ index, parent: 'root', handle: '1:', kind: 'htb', data: { defaultClass: 1 } }),
  )
  const ingress = await run(qdisc.add({ index, parent: 'ingress', handle: INGRESS, kind: 'ingress' }))
  const at = { index, parent: INGRESS, protocol: 'all' } as const
  const u32 =
    ingress ??
    (await run(
      filter.add({ ...at, priority: 1, kind: 'u32', data: { classid: '1:1', sel: filter.matchAll } }),
    ))
  const matchall =
    ingress ?? (await run(filter.add({ ...at, priority: 2, kind: 'matchall', data: { classid: '1:1' } })))
  const act = [{ kind: 'mirred', data: { to: 'egressRedir', index } }] as const
  const mirred = matchall
    ? (u32 ??
      (await run(filter.add({ ...at, priority: 1, kind: 'u32', data: { sel: filter.matchAll, act } }))))
    : await run(filter.add({ ...at, priority: 3, kind: 'matchall', data: { act } }))
  return { tbf, htb, ingress, u32, matchall, mirred }
}

/** Whether the error says that the kernel has no such thing, and not that something else went wrong. */
export const isMissing = (error: unknown): boolean =>
  // ENOENT: a qdisc or filter of no known kind; ENOTSUPP (524): ipvlan without l3s; the last: no driver of tun.
  isErrno(error, 'EOPNOTSUPP', 'ENOENT', 'E524', 'ENODEV', 'ENXIO')
