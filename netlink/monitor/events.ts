/** Notifications of the kernel, message by message, as events. */
import { type Address, addressLayout, toAddress } from '../address.ts'
import { MalformedError, Reader } from '../codec/reader.ts'
import type { Value } from '../codec/types.ts'
import { align } from '../codec/writer.ts'
import { AF_BRIDGE, AF_UNSPEC } from '../family.ts'
import { type FdbEntry, toFdbEntry } from '../fdb.ts'
import { bridgeMessageLayout } from '../link/bridge-message.ts'
import type { bridgePort } from '../link/bridge-port.ts'
import { linkLayout } from '../link/layout.ts'
import { type Link, toLink } from '../link/object.ts'
import { type Neighbour, neighbourLayout, toNeighbour } from '../neighbour.ts'
import { readMessage } from '../request.ts'
import { routeLayout } from '../route/layout.ts'
import { type Route, toRoute } from '../route/object.ts'
import { type Rule, ruleLayout, toRule } from '../rule.ts'

/** Made or changed, or gone. */
export type Action = 'new' | 'del'

/** What an interface is told as by the bridge it is a port of. */
export interface BridgePortState {
  /** Of the port's link. */
  readonly index: number
  readonly name: string
  /** Of the bridge. */
  readonly master: number | undefined
  readonly data: Value<typeof bridgePort> | undefined
}

export type MonitorEvent =
  | { readonly kind: 'link'; readonly action: Action; readonly link: Link }
  /** A port joined (or changed), or left its bridge. The link itself stays. */
  | { readonly kind: 'port'; readonly action: Action; readonly port: BridgePortState }
  | { readonly kind: 'address'; readonly action: Action; readonly address: Address }
  | { readonly kind: 'route'; readonly action: Action; readonly route: Route }
  | { readonly kind: 'rule'; readonly action: Action; readonly rule: Rule }
  | { readonly kind: 'neighbour'; readonly action: Action; readonly neighbour: Neighbour }
  | { readonly kind: 'fdb'; readonly action: Action; readonly entry: FdbEntry }
  /** The kernel had more to tell than was read in time; what is missing is not known. List again what you rely on. */
  | { readonly kind: 'overrun' }
  /** A message that can't be read. Treat it as an overrun. */
  | { readonly kind: 'malformed'; readonly type: number; readonly error: MalformedError }

/** `NLM_HDR`: `struct nlmsghdr`. */
const HEADER = 16

const readLink = (action: Action, payload: Reader): MonitorEvent | undefined => {
  const family = payload.u8(0)
  // A bridge speaks of its ports with link messages of its own family. RTM_DELLINK is a port that leaves it, not a
  // link that goes.
  if (family === AF_BRIDGE) {
    const { index, attributes } = readMessage(bridgeMessageLayout, payload)
    const { ifname: name = '', master, protinfo: data } = attributes
    return { kind: 'port', action, port: { index, name, master, data } }
  }
  if (family !== AF_UNSPEC) return undefined
  const message = readMessage(linkLayout, payload)
  return { kind: 'link', action, link: toLink(message, message.attributes) }
}

/** The decoders of each RTM_NEW*; RTM_DEL* is one more. Objects of families that are not ours give no event. */
const readers: Readonly<Record<number, (action: Action, payload: Reader) => MonitorEvent | undefined>> = {
  16: readLink,
  20: (action, payload) => {
    const message = readMessage(addressLayout, payload)
    const address = toAddress(message, message.attributes)
    return address && { kind: 'address', action, address }
  },
  24: (action, payload) => {
    const message = readMessage(routeLayout, payload)
    const route = toRoute(message, message.attributes)
    return route && { kind: 'route', action, route }
  },
  28: (action, payload) => {
    const message = readMessage(neighbourLayout, payload)
    const entry = toFdbEntry(message, message.attributes)
    if (entry) return { kind: 'fdb', action, entry }
    const neighbour = toNeighbour(message, message.attributes)
    return neighbour && { kind: 'neighbour', action, neighbour }
  },
  32: (action, payload) => {
    const message = readMessage(ruleLayout, payload)
    const rule = toRule(message, message.attributes)
    return rule && { kind: 'rule', action, rule }
  },
}

const readEvent = (type: number, payload: Reader): MonitorEvent | undefined => {
  const reader = readers[type & ~1]
  if (!reader) return undefined
  try {
    return reader(type & 1 ? 'del' : 'new', payload)
  } catch (error) {
    if (error instanceof MalformedError) return { kind: 'malformed', type, error }
    throw error
  }
}

/** The events of one datagram. */
export const readEvents = (datagram: Uint8Array): MonitorEvent[] => {
  const events: MonitorEvent[] = []
  const all = new Reader(datagram)
  for (let offset = 0; offset + HEADER <= all.length; ) {
    const length = all.u32(offset)
    const type = all.u16(offset + 4)
    if (length < HEADER || offset + length > all.length) {
      const error = new MalformedError(`message of length ${length} at offset ${offset} of ${all.length}`)
      events.push({ kind: 'malformed', type, error })
      break
    }
    const event = readEvent(type, all.slice(offset + HEADER, offset + length))
    if (event) events.push(event)
    offset += align(length)
  }
  return events
}
