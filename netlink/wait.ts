/** Waiting until a link, its addresses or routes are as they should be: by notifications, never by sleeping. */
import { type Address, list as listAddresses } from './address.ts'
import type { Connection } from './connection.ts'
import { during, isErrno } from './error.ts'
import { get, type Link, type LinkRef } from './link.ts'
import { type MonitorEvent, type MonitorGroup, monitor, type Subscription } from './monitor.ts'
import { Netns } from './netns.ts'
import { list as listRoutes, type Route, type RouteFilter } from './route.ts'

/** Where to wait: a namespace, and what is open in it already. */
export interface Place {
  readonly netns: Netns
  /** Asks for the present state. Default: one of its own. */
  readonly connection?: Connection | undefined
  /** Opened before the change that is waited for; its events are read away. Default: one of its own, when needed. */
  readonly subscription?: Subscription | undefined
}

export interface WaitOptions {
  /** Milliseconds. */
  readonly timeout: number
  readonly signal?: AbortSignal | undefined
}

/** What was waited for did not come. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError'
  readonly code = 'ETIMEDOUT'
  /** The state when it was given up: what the predicate saw last. */
  readonly lastState: unknown

  constructor(waitedFor: string, timeout: number, state: string, lastState: unknown) {
    super(`${waitedFor}: not within ${timeout} ms; it is ${state}`)
    this.lastState = lastState
  }
}

interface Wait<T> {
  readonly what: string
  readonly groups: readonly MonitorGroup[]
  /** Asks for the present state. */
  look(connection: Connection): Promise<T>
  /** Whether an event may have made the predicate true. */
  concerns(event: MonitorEvent, last: T): boolean
  holds(state: T): boolean
  print(state: T): string
}

const until = async <T>(where: Netns | Place, wait: Wait<T>, options: WaitOptions): Promise<T> => {
  const place: Place = where instanceof Netns ? { netns: where } : where
  const { timeout, signal } = options
  signal?.throwIfAborted()
  let { connection } = place
  let own: Subscription | undefined
  try {
    connection ??= place.netns.connect({ timeout: Math.max(1, timeout) })
    let state = await wait.look(connection)
    if (wait.holds(state)) return state
    // Not before: `performance` takes a millisecond to load, and mostly there is nothing to wait for.
    const end = performance.now() + timeout
    let subscription = place.subscription
    if (!subscription) {
      // Subscribed first, looked once more: what changed in between is seen.
      subscription = own = monitor(place.netns, { groups: wait.groups })
      state = await wait.look(connection)
      if (wait.holds(state)) return state
    }
    for (;;) {
      const left = end - performance.now()
      const event = left > 0 ? await subscription.take({ timeout: left, signal }) : undefined
      if (!event && subscription.closed) throw new Error(`${wait.what}: the subscription was closed`)
      if (!event) throw new TimeoutError(wait.what, timeout, wait.print(state), state)
      const unsure = event.kind === 'overrun' || event.kind === 'malformed'
      // An event may tell of a state that is over by now. What counts is what is.
      if (!unsure && !wait.concerns(event, state)) continue
      state = await wait.look(connection)
      if (wait.holds(state)) return state
    }
  } catch (error) {
    throw during(wait.what, error)
  } finally {
    own?.close()
    if (connection !== place.connection) connection?.close()
  }
}

/**
 * Waits until `predicate` is true of a link; it gets undefined while there is no such link. One request when it is true
 * already; otherwise notifications are followed, and nothing that happens after the call is missed.
 *
 * Put `subscription` into `where`, opened before the change, to save the second look.
 * @returns the link as the predicate accepted it
 * @throws TimeoutError; the signal's reason; NetlinkError and SocketError when the link can't be asked for
 */
export const waitForLink = (
  where: Netns | Place,
  which: LinkRef,
  predicate: (link: Link | undefined) => boolean,
  options: WaitOptions,
): Promise<Link | undefined> =>
  until<Link | undefined>(
    where,
    {
      what: `wait for link ${which}`,
      groups: ['link'],
      async look(connection) {
        try {
          return await connection.run(get(which))
        } catch (error) {
          if (isErrno(error, 'ENODEV')) return undefined
          throw error
        }
      },
      concerns: (event, last) => {
        if (event.kind !== 'link') return false
        const { link, action } = event
        const meant = link.index === which || link.name === which || link.altNames.includes(String(which))
        // Looking costs a request: only where the event's own state is a reason to hope, or it changed its name.
        if (meant) return predicate(action === 'del' ? undefined : link)
        return link.index === last?.index
      },
      holds: predicate,
      print: (link) =>
        link
          ? `${link.name} ${link.up ? 'up' : 'down'}, operational state ${link.operState}, master ${link.master ?? 'none'}`
          : 'not there',
    },
    options,
  )

const printAddress = ({ address, flags }: Address): string => {
  const notes = (['tentative', 'dadfailed', 'deprecated'] as const).filter((name) => flags[name])
  return [address, ...notes].join(' ')
}

/**
 * Waits until `predicate` is true of the addresses of a link, e.g. until duplicate address detection is over:
 * `waitForAddress(netns, index, (all) => !all.some((a) => a.flags.tentative), { timeout: 5000 })`. As
 * {@link waitForLink}.
 * @returns the addresses as the predicate accepted them
 * @throws TimeoutError; the signal's reason; NetlinkError (ENODEV: no such link) and SocketError
 */
export const waitForAddress = (
  where: Netns | Place,
  index: number,
  predicate: (addresses: readonly Address[]) => boolean,
  options: WaitOptions,
): Promise<readonly Address[]> =>
  until<readonly Address[]>(
    where,
    {
      what: `wait for addresses of link ${index}`,
      groups: ['address'],
      look: (connection) => connection.run(listAddresses({ index })),
      concerns: (event) => event.kind === 'address' && event.address.index === index,
      holds: predicate,
      print: (addresses) => addresses.map(printAddress).join(', ') || 'without addresses',
    },
    options,
  )

/**
 * Waits until `predicate` is true of the routes of a filter, e.g. until the kernel has made those of an IPv6 address,
 * which it does in its own time. As {@link waitForLink}.
 * @returns the routes as the predicate accepted them
 * @throws TimeoutError; the signal's reason; NetlinkError and SocketError
 */
export const waitForRoute = (
  where: Netns | Place,
  filter: RouteFilter,
  predicate: (routes: readonly Route[]) => boolean,
  options: WaitOptions,
): Promise<readonly Route[]> =>
  until<readonly Route[]>(
    where,
    {
      what: `wait for routes${filter.table === undefined ? '' : ` of table ${filter.table}`}`,
      groups: ['route'],
      async look(connection) {
        try {
          return await connection.run(listRoutes(filter))
        } catch (error) {
          // IPv4 has no such table as long as nothing is in it.
          if (isErrno(error, 'ENOENT')) return []
          throw error
        }
      },
      concerns: (event) => event.kind === 'route',
      holds: predicate,
      print: (routes) => routes.map(({ dst }) => dst).join(', ') || 'without routes',
    },
    options,
  )
