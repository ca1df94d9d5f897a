/** Netlink: namespaces, connections, and typed operations on links, addresses, routes and what belongs to them. */

export type { Address } from './address.ts'
export * as address from './address.ts'
export * as bridgeVlan from './bridge-vlan.ts'
export { Connection, type ConnectionOptions, type Outcomes, type Transport } from './connection.ts'
export type { ConntrackEntry, ConntrackFamily, ConntrackFilter } from './conntrack.ts'
export * as conntrack from './conntrack.ts'
export { isErrno, NetlinkError, SocketError } from './error.ts'
export type { Outcome } from './exchange.ts'
export type { Family } from './family.ts'
export type { FdbEntry } from './fdb.ts'
export * as fdb from './fdb.ts'
export type { Filter } from './filter.ts'
export * as filter from './filter.ts'
export * from './ip.ts'
export { checkName, isLinkName } from './link/name.ts'
export type { BriefLink, Link } from './link.ts'
export * as link from './link.ts'
export { deleteLinks, LinkDeleter, type Undeleted } from './link-deleter.ts'
export * from './mac.ts'
export {
  type MonitorEvent,
  type MonitorGroup,
  type MonitorOptions,
  monitor,
  type Subscription,
} from './monitor.ts'
export type { Neighbour } from './neighbour.ts'
export * as neighbour from './neighbour.ts'
export { NETLINK_NETFILTER, NETLINK_ROUTE, Netns, NotANamespaceError, type SysctlWrite } from './netns.ts'
export * as nftables from './nftables/index.ts'
export * as nsid from './nsid.ts'
export type { Qdisc } from './qdisc.ts'
export * as qdisc from './qdisc.ts'
export type { Request } from './request.ts'
export type { Route } from './route.ts'
export * as route from './route.ts'
export type { Rule } from './rule.ts'
export * as rule from './rule.ts'
export type { TrafficClass } from './traffic-class.ts'
export * as trafficClass from './traffic-class.ts'
export * as tun from './tun.ts'
export {
  type Place,
  TimeoutError,
  type WaitOptions,
  waitForAddress,
  waitForLink,
  waitForRoute,
} from './wait.ts'
