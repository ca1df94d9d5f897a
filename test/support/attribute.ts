import type { Writer } from '../../netlink/codec/writer.ts'

/** Writes one attribute whose payload is what `body` writes. */
export const attribute = (writer: Writer, type: number, body: () => void): void => {
  const start = writer.open(`#${type}`)
  body()
  writer.close(start, type, `#${type}`)
}
