import { readFileSync } from 'node:fs'
import { Reader } from '../../../netlink/codec/reader.ts'

interface Captured {
  /** What prepared the namespace. */
  readonly before: readonly string[]
  readonly command: string
  /** Hex of the datagram iproute2 sent. */
  readonly sent?: string
  /** Hex of the datagram the kernel answered with. */
  readonly received?: string
}

/** What iproute2 6.1 and Linux 6.1 said to each other; `fixtures/capture.mjs` made it. */
export const captured = JSON.parse(
  readFileSync(new URL('./fixtures/captured.json', import.meta.url), 'utf8'),
) as readonly Captured[]

/** The messages of a datagram in hex: their types, flags and payloads. */
export const messagesOf = (hex: string): { type: number; flags: number; payload: Reader }[] => {
  const all = new Reader(Buffer.from(hex, 'hex'))
  const messages: { type: number; flags: number; payload: Reader }[] = []
  for (let offset = 0; offset + 16 <= all.length; ) {
    const length = all.u32(offset)
    messages.push({
      type: all.u16(offset + 4),
      flags: all.u16(offset + 6),
      payload: all.slice(offset + 16, offset + length),
    })
    offset += (length + 3) & ~3
  }
  return messages
}

/** The kernel's answer to a command; `nth` where the same command was captured several times. */
export const answerTo = (command: string, nth = 0) => {
  const found = captured.filter((one) => one.command === command && one.received !== undefined)[nth]
  if (!found?.received) throw new Error(`nothing was captured of ${command}`)
  return messagesOf(found.received)
}
