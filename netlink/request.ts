/**
 * Requests are immutable values: what to send, and how to read the answer. A {@link Connection} runs them, alone or
 * many in one datagram. Building one needs neither a socket nor root.
 */
import type { Reader } from './codec/reader.ts'
import type { Attributes, Rows, Struct, Table } from './codec/table.ts'
import type { Writer } from './codec/writer.ts'

/** `NLM_F_*`, linux/netlink.h. */
export const NLM_F = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  echo: 0x8,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
} as const

/** One message of an answer: its type, and its payload behind `struct nlmsghdr`. */
export interface Message {
  readonly type: number
  readonly flags: number
  readonly payload: Reader
}

/** Something to ask of the kernel, and `T`, what its answer means. */
export interface Request<T> {
  /** In words, for errors: `add link veth0 (veth)`. */
  readonly op: string
  /** `nlmsg_type`. */
  readonly type: number
  /** `NLM_F_*` besides REQUEST and ACK. With DUMP no request may follow in its datagram. */
  readonly flags: number
  /** Writes what follows `struct nlmsghdr`. */
  write(writer: Writer): void
  /** Makes the result of the answer's messages (acknowledgements left out). */
  read(messages: readonly Message[]): T
}

/** Whether it asks for all objects: NLM_F_DUMP is two bits, and each has a meaning of its own in other requests. */
export const isDump = ({ flags }: Pick<Request<unknown>, 'flags'>): boolean =>
  (flags & NLM_F.dump) === NLM_F.dump

/** A fixed header and the attributes behind it: the layout of one family of messages. */
export interface Layout<H, T extends Rows> {
  readonly header: Struct<H>
  readonly attributes: Table<T>
}

/** Reads a message of a known layout: the header's fields and, in `attributes`, the rest. */
export const readMessage = <H, T extends Rows>(
  { header, attributes }: Layout<H, T>,
  payload: Reader,
): ReturnType<Struct<H>['read']> & { attributes: Attributes<T> } =>
  Object.assign(header.read(payload), {
    attributes: attributes.readFrom(payload, (header.size + 3) & ~3),
  })

interface RequestOptions<H, T extends Rows> {
  readonly op: string
  readonly type: number
  readonly flags?: number
  readonly header?: Parameters<Struct<H>['write']>[1]
  readonly attributes?: Attributes<T>
}

const write =
  <H, T extends Rows>(layout: Layout<H, T>, { header, attributes }: RequestOptions<H, T>) =>
  (writer: Writer): void => {
    layout.header.write(writer, header ?? {})
    writer.pad()
    layout.attributes.write(writer, attributes ?? {})
  }

/** A request that changes something; its answer is only the acknowledgement. */
export const change = <H, T extends Rows>(
  layout: Layout<H, T>,
  options: RequestOptions<H, T>,
): Request<void> => ({
  op: options.op,
  type: options.type,
  flags: options.flags ?? 0,
  write: write(layout, options),
  read: () => {},
})

/** Reads an answer of one message. @param op in words, for the error where there is none */
export const readOne =
  <H, T extends Rows, R>(
    op: string,
    layout: Layout<H, T>,
    read: (message: ReturnType<typeof readMessage<H, T>>) => R,
  ) =>
  ([message]: readonly Message[]): R => {
    if (!message) throw new Error(`${op}: the kernel acknowledged the request but sent no object`)
    return read(readMessage(layout, message.payload))
  }

/** A request for one object. */
export const get = <H, T extends Rows, R>(
  layout: Layout<H, T>,
  options: RequestOptions<H, T>,
  read: (message: ReturnType<typeof readMessage<H, T>>) => R,
): Request<R> => ({
  op: options.op,
  type: options.type,
  flags: options.flags ?? 0,
  write: write(layout, options),
  read: readOne(options.op, layout, read),
})

/** A request for all objects; `read` may return undefined to leave one out. */
export const dump = <H, T extends Rows, R>(
  layout: Layout<H, T>,
  options: RequestOptions<H, T>,
  read: (message: ReturnType<typeof readMessage<H, T>>, type: number) => R | undefined,
): Request<R[]> => ({
  op: options.op,
  type: options.type,
  flags: (options.flags ?? 0) | NLM_F.dump,
  write: write(layout, options),
  read: (messages) =>
    messages.flatMap((message) => read(readMessage(layout, message.payload), message.type) ?? []),
})
