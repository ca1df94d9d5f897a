/** Requests to datagram, and received bytes back to one outcome a request. Pure: no socket here. */
import { MalformedError, Reader } from './codec/reader.ts'
import { align, littleEndian, Writer } from './codec/writer.ts'
import { errnoName, NetlinkError } from './error.ts'
import { isDump, type Message, NLM_F, type Request } from './request.ts'

/** `struct nlmsghdr`. */
const HEADER = 16
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
/** In the flags of an NLMSG_ERROR: the request is not repeated in full; attributes follow. */
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200
/** `NLMSGERR_ATTR_*`. */
const ATTR_MSG = 1
const ATTR_OFFS = 2
const ATTR_MISS_TYPE = 5

/** A request that the kernel refused. */
export interface Refusal {
  readonly ok: false
  /** Name of its errno: `'ENOENT'`. */
  readonly code: string
  /** Made when it is first looked at: many a request only asks whether something is there. */
  readonly error: NetlinkError
}

/** What became of one request. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | Refusal

/** Writes one message: header, body, length. */
export const writeMessage = (writer: Writer, request: Request<unknown>, seq: number, flags: number): void => {
  const start = writer.reserve(HEADER)
  request.write(writer)
  const { view } = writer
  view.setUint32(start, writer.length - start, littleEndian)
  view.setUint16(start + 4, request.type, littleEndian)
  view.setUint16(start + 6, flags, littleEndian)
  view.setUint32(start + 8, seq, littleEndian)
  writer.pad()
}

/** The flags a request is sent with. A dump ends with NLMSG_DONE, everything else with an acknowledgement. */
export const flagsOf = (request: Request<unknown>): number =>
  NLM_F.request | request.flags | (isDump(request) ? 0 : NLM_F.ack)

/** Encodes requests into one datagram, numbered from `seq` on. */
export const encode = (requests: readonly Request<unknown>[], seq: number): Uint8Array => {
  const writer = new Writer()
  for (const [i, request] of requests.entries()) writeMessage(writer, request, seq + i, flagsOf(request))
  return writer.finish()
}

/** The path of the attribute at `offset` of a request's message, found by writing it once more with a trace. */
const attributeAt = (request: Request<unknown>, offset: number): string | undefined => {
  const writer = new Writer(4096, true)
  writeMessage(writer, request, 0, 0)
  return writer.trace?.findLast((entry) => entry.offset <= offset)?.path
}

/** The closing message of a request that failed. */
interface Closing {
  readonly errno: number
  readonly payload: Reader
  readonly flags: number
  readonly type: number
}

const toError = (request: Request<unknown>, { errno, payload, flags, type }: Closing): NetlinkError => {
  let kernelMessage: string | undefined
  let attribute: string | undefined
  // Behind errno stands the request's header, and, unless capped, the whole request; then come the attributes. At
  // the end of a dump they follow errno at once.
  const echoed = type === NLMSG_ERROR && payload.length >= 4 + HEADER ? payload.u32(4) : 0
  const start = 4 + (type === NLMSG_ERROR && flags & NLM_F_CAPPED ? HEADER : align(echoed))
  if (flags & NLM_F_ACK_TLVS && start <= payload.length)
    for (const at = payload.attributes(start); at.next(); )
      if (at.type === ATTR_MSG)
        kernelMessage = new TextDecoder().decode(at.payload.bytes).replace(/\0.*$/s, '').trim()
      else if (at.type === ATTR_OFFS) attribute = attributeAt(request, at.payload.u32())
      else if (at.type === ATTR_MISS_TYPE) attribute ??= `#${at.payload.u32()} is missing`
  return new NetlinkError({ op: request.op, errno, kernelMessage, attribute })
}

class Refused implements Refusal {
  readonly ok = false
  readonly code: string
  readonly #request: Request<unknown>
  readonly #closing: Closing
  #error: NetlinkError | undefined

  constructor(request: Request<unknown>, closing: Closing) {
    this.#request = request
    this.#closing = closing
    this.code = errnoName(closing.errno)
  }
  get error(): NetlinkError {
    this.#error ??= toError(this.#request, this.#closing)
    return this.#error
  }
}

/** What {@link decode} found besides the outcomes. */
export interface Decoded<T> {
  readonly outcomes: Outcome<T>[]
  /** The objects changed while they were listed (NLM_F_DUMP_INTR): ask again. */
  readonly interrupted: boolean
}

/**
 * Sorts received messages by sequence number and makes one outcome of each request. Requests without a closing
 * message get `unanswered`, if given (an nf_tables batch that failed as a whole).
 */
export const decode = <T>(
  requests: readonly Request<T>[],
  seq: number,
  received: Uint8Array,
  unanswered?: Outcome<T>,
): Decoded<T> => {
  const messages: Message[][] = requests.map(() => [])
  const closed: (Refusal | true | undefined)[] = requests.map(() => undefined)
  let interrupted = false
  const all = new Reader(received)
  for (let offset = 0; offset + HEADER <= all.length; ) {
    const length = all.u32(offset)
    const payload = all.slice(offset + HEADER, offset + Math.max(length, HEADER))
    const type = all.u16(offset + 4)
    const flags = all.u16(offset + 6)
    const index = all.u32(offset + 8) - seq
    offset += align(Math.max(length, HEADER))
    const request = requests[index]
    if (!request) continue
    if (flags & NLM_F.dumpInterrupted) interrupted = true
    if (type === NLMSG_ERROR || type === NLMSG_DONE) {
      // The end of a dump carries an errno too, when the dump failed half way through.
      const errno = payload.length >= 4 ? -payload.s32() : 0
      if (errno <= 0) closed[index] ??= true
      else if (closed[index] === undefined || closed[index] === true)
        closed[index] = new Refused(request, { errno, payload, flags, type })
    } else messages[index]!.push({ type, flags, payload })
  }
  const outcomes = requests.map((request, i): Outcome<T> => {
    const end = closed[i]
    if (end === undefined && unanswered) return unanswered
    if (end === undefined) throw new MalformedError(`${request.op}: the answer does not come to an end`)
    return end === true ? { ok: true, value: request.read(messages[i]!) } : end
  })
  return { outcomes, interrupted }
}
