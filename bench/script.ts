/** Recordings as scripts for floor.c: what has to be patched each time is found here. */
import { Reader } from '../netlink/codec/reader.ts'
import { align } from '../netlink/codec/writer.ts'
import { NETLINK_ROUTE } from '../netlink/netns.ts'
import type { Exchange, Step } from './recording.ts'

const HEADER = 16
/** `struct ifinfomsg`, `struct nfgenmsg`, `struct rtgenmsg`, padded. */
const IFINFOMSG = 16
const NFGENMSG = 4
const RTGENMSG = 4
const NLMSG_ERROR = 2
const RTM_NEWLINK = 16
const RTM_SETLINK = 19
const RTM_NEWNSID = 88
const RTM_GETNSID = 90
const NFT_MSG_NEWRULE = 0xa06
const NFT_MSG_DELRULE = 0xa08
const IFLA_LINK = 5
const IFLA_LINKINFO = 18
const IFLA_NET_NS_FD = 28
const IFLA_INFO_DATA = 2
const VETH_INFO_PEER = 1
const NETNSA_FD = 3
const NFTA_RULE_HANDLE = 3

interface Message {
  readonly type: number
  readonly seq: number
  /** Where its payload begins in the whole. */
  readonly at: number
  readonly payload: Reader
}

const messages = (bytes: Uint8Array): Message[] => {
  const all = new Reader(bytes)
  const found: Message[] = []
  for (let offset = 0; offset + HEADER <= all.length; ) {
    const length = all.u32(offset)
    if (length < HEADER) throw new RangeError(`a message of ${length} bytes at ${offset}`)
    const payload = all.slice(offset + HEADER, offset + length)
    found.push({ type: all.u16(offset + 4), seq: all.u32(offset + 8), at: offset + HEADER, payload })
    offset += align(length)
  }
  return found
}

/** The payload of an attribute found by its path, and where it begins in `payload`; null where there is none. */
const attribute = (
  payload: Reader,
  start: number,
  [first, ...rest]: readonly [type: number, skip: number][],
): { readonly at: number; readonly value: Reader } | null => {
  let value: Reader | undefined
  for (const walk = payload.attributes(start); walk.next(); )
    if (walk.type === first?.[0]) value = walk.payload
  if (!value) return null
  const at = value.bytes.byteOffset - payload.bytes.byteOffset
  if (rest.length === 0) return { at, value }
  const inner = attribute(value, first![1], rest)
  return inner && { at: at + inner.at, value: inner.value }
}

const isRouteMessage = ({ protocol }: Exchange, { type }: Message, first: number, last: number): boolean =>
  protocol === NETLINK_ROUTE && type >= first && type <= last

const isLinkMessage = (exchange: Exchange, message: Message): boolean =>
  isRouteMessage(exchange, message, RTM_NEWLINK, RTM_SETLINK)

/** Places of a namespace's descriptor in a message about a link: of the link itself, of the peer of a veth. */
const netnsPaths: readonly (readonly [number, number][])[] = [
  [[IFLA_NET_NS_FD, 0]],
  [
    [IFLA_LINKINFO, 0],
    [IFLA_INFO_DATA, 0],
    [VETH_INFO_PEER, IFINFOMSG],
    [IFLA_NET_NS_FD, 0],
  ],
]

/** Where the descriptors of namespaces are in a message. */
const netnsPlaces = (exchange: Exchange, message: Message): number[] => {
  const { payload, at } = message
  const found = isLinkMessage(exchange, message)
    ? netnsPaths.map((path) => attribute(payload, IFINFOMSG, path))
    : isRouteMessage(exchange, message, RTM_NEWNSID, RTM_GETNSID)
      ? [attribute(payload, RTGENMSG, [[NETNSA_FD, 0]])]
      : []
  return found.flatMap((place) => (place ? [at + place.at] : []))
}

const handleOf = ({ type, payload }: Message, wanted: number) =>
  type === wanted ? attribute(payload, NFGENMSG, [[NFTA_RULE_HANDLE, 0]]) : null

/** Index of the host's end, as a container's veth tells it. */
const learnedLink = (exchange: Exchange): number | undefined => {
  for (const message of messages(exchange.received))
    if (message.type === RTM_NEWLINK && isLinkMessage(exchange, message)) {
      const link = attribute(message.payload, IFINFOMSG, [[IFLA_LINK, 0]])
      if (link) return link.value.u32()
    }
  return undefined
}

/** Handle of the last rule that was listed. */
const learnedHandle = ({ received }: Exchange): bigint | undefined =>
  messages(received)
    .map((message) => handleOf(message, NFT_MSG_NEWRULE)?.value.be64())
    .findLast((handle) => handle !== undefined)

/** What is different the next time, and what is learned for it. */
class Marks {
  #link: number | undefined
  #handle: bigint | undefined

  of(exchange: Exchange): string[] {
    const marks: string[] = []
    for (const message of messages(exchange.datagram)) {
      marks.push(...netnsPlaces(exchange, message).map((at) => `fd@${at}`))
      if (
        this.#link !== undefined &&
        isLinkMessage(exchange, message) &&
        message.payload.u32(4) === this.#link
      )
        marks.push(`link@${message.at + 4}`)
      const handle = handleOf(message, NFT_MSG_DELRULE)
      if (handle) {
        if (handle.value.be64() !== this.#handle)
          throw new Error('a rule was deleted that was not the last one listed: it can not be replayed')
        marks.push(`handle@${message.at + handle.at}`)
      }
    }
    for (const { type, seq, payload } of messages(exchange.received)) {
      const errno = type === NLMSG_ERROR ? -payload.s32() : 0
      if (errno !== 0) marks.push(`${seq}=${errno}`)
    }
    const link = learnedLink(exchange)
    if (link !== undefined) {
      this.#link = link
      marks.push('learn=link')
    }
    const handle = learnedHandle(exchange)
    if (handle !== undefined) {
      this.#handle = handle
      marks.push('learn=handle')
    }
    return marks
  }
}

const line = (step: Step, marks: Marks): string => {
  switch (step.kind) {
    case 'container':
      return `container ${step.slot} ${step.path}`
    case 'enter':
    case 'close':
      return `${step.kind} ${step.slot}`
    case 'leave':
      return 'leave'
    case 'socket':
      return `socket ${step.slot} ${step.domain} ${step.type} ${step.protocol}`
    case 'option':
      return `option ${step.slot} ${step.level} ${step.name} ${step.value}`
    case 'sysctl':
      return `sysctl ${step.path}${step.value === null ? '' : ` ${step.value}`}`
    case 'exchange': {
      const { firstSeq, lastSeq, expected, abortSeq } = step.options
      const hex = Buffer.from(step.datagram).toString('hex')
      return ['exchange', step.slot, expected, abortSeq, firstSeq, lastSeq, hex, ...marks.of(step)].join(' ')
    }
  }
}

/** The script of `steps`, with the slots numbered from `slots` on. @param container the namespace it is replayed in */
export const script = (
  name: string,
  steps: readonly Step[],
  container: string,
  slots: Map<number, number>,
): string[] => {
  const marks = new Marks()
  const renumber = (slot: number): number => {
    const known = slots.get(slot)
    if (known !== undefined) return known
    slots.set(slot, slots.size)
    return slots.size - 1
  }
  const lines = steps.map((step) => {
    const numbered = 'slot' in step ? { ...step, slot: renumber(step.slot) } : step
    return line(numbered.kind === 'container' ? { ...numbered, path: container } : numbered, marks)
  })
  return [`script ${name}`, ...lines, 'end']
}
