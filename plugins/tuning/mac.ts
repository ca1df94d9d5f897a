/** A new MAC for an interface whose driver takes one only while it is down. */
import {
  type Address,
  address,
  type Connection,
  isErrno,
  type Link,
  link,
  type Request,
  type Route,
  route,
} from '../../netlink/index.ts'

/** An address that the kernel takes away with the link going down. It has been probed already. */
const addressAgain = (own: Address): Request<void> => {
  const options = address.restate(own)
  return address.add({ ...options, flags: { ...options.flags, nodad: true } })
}

/** Direct routes go first: gateways are reached over them. */
const byGateway = (a: Route, b: Route): number =>
  Number(a.gateway !== undefined) - Number(b.gateway !== undefined)

/**
 * Takes the interface down, gives it the MAC, brings it up, and gives it back what it has lost by that: routes, and the
 * IPv6 addresses that somebody has entered. One datagram, so that a killed process has done all of it or nothing.
 * Equivalent: `ip link set NAME down; ip link set NAME address MAC; ip link set NAME up` and `ip address add`, `ip route
 * append` for what was there.
 * @throws NetlinkError the first that was refused; the interface is up in any case
 */
export const changeMacWhileDown = async (container: Connection, found: Link, mac: string): Promise<void> => {
  const { index, name } = found
  const [addresses, routes] = await Promise.all([
    container.run(address.list({ index, family: 6 })),
    container.run(route.list({ index })),
  ])
  const lost = [
    ...addresses.filter(({ flags, scope }) => flags.permanent && scope !== 'link').map(addressAgain),
    ...routes
      .filter(({ protocol, nexthops }) => protocol !== 'kernel' && protocol !== 'ra' && nexthops.length === 0)
      .filter(route.isRestatable)
      .sort(byGateway)
      .map((own) => route.append(route.restate(own))),
  ]
  const outcomes = await container.batch([
    link.set(name, { up: false }),
    link.set(name, { address: mac }),
    link.set(name, { up: true }),
    ...lost,
  ])
  // What has stayed (keep_addr_on_down) is there already.
  for (const outcome of outcomes) if (!outcome.ok && !isErrno(outcome.error, 'EEXIST')) throw outcome.error
}
