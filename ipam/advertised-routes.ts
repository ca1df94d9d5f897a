/** Routes to routers that have advertised themselves: the kernel makes, prolongs and ends them (RFC 4861 section 6.3.4). */
import type { Route } from '../cni/types.ts'
import { type Connection, route } from '../netlink/index.ts'

const MAIN_TABLE = 254

/** RFC 4291 section 2.5.6: fe80::/10. Text as `formatIp` writes it. */
export const isLinkLocal = (ip: string): boolean => /^fe[89ab][0-9a-f]:/i.test(ip)

const isMade =
  ({ dst, gw, priority, table }: Route) =>
  (made: route.Route): boolean =>
    made.dst === dst &&
    [made, ...made.nexthops].some(({ gateway }) => gateway === gw) &&
    made.table === (table || MAIN_TABLE) &&
    (!priority || made.priority === priority)

/**
 * Those of the routes that the kernel has not made itself, by what routers have said. Whoever makes one of those again
 * takes its lifetime from it, and it stays when its router has gone. Equivalent: `ip -6 route show dev eth0 proto ra`.
 * @param index of the interface
 * @throws NetlinkError
 */
export const withoutAdvertised = async <R extends Route>(
  connection: Connection,
  index: number,
  routes: readonly R[],
): Promise<readonly R[]> => {
  if (!routes.some(({ gw }) => gw !== undefined && isLinkLocal(gw))) return routes
  const made = await connection.run(route.list({ family: 6, index, protocol: 'ra' }))
  return routes.filter((wanted) => !made.some(isMade(wanted)))
}
