/**
 * A kernel of make-believe at the seam where a connection hands over its bytes: handlers by message type answer with
 * acknowledgements, errors or objects. What is tested above it needs neither root nor the addon.
 */
import { Reader } from '../../netlink/codec/reader.ts'
import type { Attributes, Rows, Struct } from '../../netlink/codec/table.ts'
import { align, littleEndian, Writer } from '../../netlink/codec/writer.ts'
import { Connection, type ConnectionOptions, type Transport } from '../../netlink/connection.ts'
import { type Layout, NLM_F, readMessage } from '../../netlink/request.ts'
import { attribute } from './attribute.ts'

const HEADER = 16
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_MULTI = 2
const NLM_F_CAPPED = 0x100
const NLM_F_ACK_TLVS = 0x200

/** A message as it came. */
export interface FakeRequest {
  readonly type: number
  readonly flags: number
  readonly seq: number
  /** Its number among all that came, from 0. */
  readonly count: number
  /** Behind `struct nlmsghdr`. */
  readonly payload: Reader
  /** The whole message. */
  readonly bytes: Uint8Array
  /** Header and attributes, by the layout the request was made with. */
  as<H, T extends Rows>(layout: Layout<H, T>): ReturnType<typeof readMessage<H, T>>
}

/** An object that the kernel sends. */
export interface FakeObject {
  readonly type: number
  write(writer: Writer): void
}

export interface FakeAnswer {
  /** Positive. Default 0: an acknowledgement. */
  readonly errno?: number
  /** The kernel's words (NLMSGERR_ATTR_MSG). */
  readonly message?: string
  /** Offset in the request of the attribute it minds (NLMSGERR_ATTR_OFFS). */
  readonly offset?: number
  readonly objects?: readonly FakeObject[]
  /** The dump was interrupted (NLM_F_DUMP_INTR). */
  readonly interrupted?: boolean
}

/** Answers a request; nothing means an acknowledgement. */
export type FakeHandler = (request: FakeRequest) => FakeAnswer | undefined

/** An object of a layout, e.g. `fakeObject(16, linkLayout, { index: 3 }, { ifname: 'eth0', mtu: 1500 })`. */
export const fakeObject = <H, T extends Rows>(
  type: number,
  layout: Layout<H, T>,
  header: Parameters<Struct<H>['write']>[1],
  attributes: Attributes<T>,
): FakeObject => ({
  type,
  write(writer) {
    layout.header.write(writer, header)
    writer.pad()
    layout.attributes.write(writer, attributes)
  },
})

export class FakeKernel implements Transport {
  readonly #handlers: Readonly<Record<number, FakeHandler>>
  /** Everything that was asked, in order. */
  readonly requests: FakeRequest[] = []
  /** How many datagrams they came in. */
  datagrams = 0

  /** @param handlers by `nlmsg_type`; other types are refused with EOPNOTSUPP */
  constructor(handlers: Readonly<Record<number, FakeHandler>>) {
    this.#handlers = handlers
  }

  /** A connection to it. */
  connect(options: ConnectionOptions = {}): Connection {
    return new Connection({ fd: 3, close: () => {} }, { ...options, transport: this })
  }

  async transact(_socket: unknown, datagram: Uint8Array): Promise<Uint8Array> {
    return this.transactSync(_socket, datagram)
  }

  transactSync(_socket: unknown, datagram: Uint8Array): Uint8Array {
    this.datagrams++
    const out = new Writer()
    const all = new Reader(datagram.slice())
    for (let offset = 0; offset + HEADER <= all.length; ) {
      const length = all.u32(offset)
      this.#answer(out, this.#read(all.slice(offset, offset + length)))
      offset += align(length)
    }
    return out.finish().slice()
  }

  #read(message: Reader): FakeRequest {
    const payload = message.slice(HEADER)
    const request: FakeRequest = {
      type: message.u16(4),
      flags: message.u16(6),
      seq: message.u32(8),
      count: this.requests.length,
      payload,
      bytes: message.bytes,
      as: (layout) => readMessage(layout, payload),
    }
    this.requests.push(request)
    return request
  }

  #answer(out: Writer, request: FakeRequest): void {
    const handler = this.#handlers[request.type]
    const answer = handler ? (handler(request) ?? {}) : { errno: 95 }
    const isDump = (request.flags & NLM_F.dump) === NLM_F.dump && answer.errno === undefined
    const flags = (isDump ? NLM_F_MULTI : 0) | (answer.interrupted ? NLM_F.dumpInterrupted : 0)
    for (const object of answer.objects ?? [])
      writeMessage(out, object.type, flags, request.seq, () => object.write(out))
    if (isDump) writeMessage(out, NLMSG_DONE, flags, request.seq, () => out.u32(0))
    else writeClosing(out, request, answer)
  }
}

const writeMessage = (out: Writer, type: number, flags: number, seq: number, body: () => void): void => {
  const start = out.reserve(HEADER)
  body()
  out.view.setUint32(start, out.length - start, littleEndian)
  out.view.setUint16(start + 4, type, littleEndian)
  out.view.setUint16(start + 6, flags, littleEndian)
  out.view.setUint32(start + 8, seq, littleEndian)
  out.pad()
}

const writeClosing = (
  out: Writer,
  request: FakeRequest,
  { errno = 0, message, offset }: FakeAnswer,
): void => {
  const hasMore = message !== undefined || offset !== undefined
  const flags = NLM_F_CAPPED | (hasMore ? NLM_F_ACK_TLVS : 0)
  writeMessage(out, NLMSG_ERROR, flags, request.seq, () => {
    const at = out.reserve(4)
    out.view.setInt32(at, -errno, littleEndian)
    out.put(request.bytes.subarray(0, HEADER))
    if (message !== undefined) attribute(out, 1, () => out.put(new TextEncoder().encode(`${message}\0`)))
    if (offset !== undefined) attribute(out, 2, () => out.u32(offset))
  })
}
