/** A bus that says what a test wants, in place of a real one. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A header field: its code, its type and its value. */
type Field = readonly [code: number, type: 's' | 'u' | 'g' | 'o', value: string | number]

export interface Spoken {
  /** 2: an answer; 3: an error; 4: a signal. */
  readonly type: number
  readonly serial?: number | undefined
  readonly fields: readonly Field[]
  readonly body?: Buffer | undefined
  readonly bigEndian?: boolean | undefined
}

/** A message in bytes, in either order; written apart from the code under test. */
export const speak = ({ type, serial = 1, fields, body = Buffer.alloc(0), bigEndian }: Spoken): Buffer => {
  const out: number[] = []
  const u32 = (value: number): void => {
    while (out.length % 4) out.push(0)
    const bytes = [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
    out.push(...(bigEndian ? bytes : bytes.reverse()))
  }
  out.push((bigEndian ? 'B' : 'l').charCodeAt(0), type, 0, 1)
  u32(body.length)
  u32(serial)
  u32(0)
  for (const [code, kind, value] of fields) {
    while (out.length % 8) out.push(0)
    out.push(code, 1, kind.charCodeAt(0), 0)
    if (typeof value === 'number') u32(value)
    else {
      if (kind === 'g') out.push(value.length)
      else u32(value.length)
      out.push(...Buffer.from(value), 0)
    }
  }
  const length = out.length - 16
  while (out.length % 8) out.push(0)
  const bytes = Buffer.from(out)
  if (bigEndian) bytes.writeUInt32BE(length, 12)
  else bytes.writeUInt32LE(length, 12)
  return Buffer.concat([bytes, body])
}

/** A string as the first value of a body. */
export const stringBody = (text: string): Buffer => {
  const bytes = Buffer.from(`${text}\0`)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length - 1)
  return Buffer.concat([length, bytes])
}

/** A boolean as the first value of a body. */
export const booleanBody = (value: boolean): Buffer => Buffer.from([value ? 1 : 0, 0, 0, 0])

/** An answer to the call `serial`. */
export const answer = (serial: number, signature: string, body: Buffer): Buffer =>
  speak({
    type: 2,
    fields: [
      [5, 'u', serial],
      [8, 'g', signature],
    ],
    body,
  })

/** An error in answer to the call `serial`. */
export const refusal = (serial: number, name: string, text: string): Buffer =>
  speak({
    type: 3,
    fields: [
      [4, 's', name],
      [5, 'u', serial],
      [8, 'g', 's'],
    ],
    body: stringBody(text),
  })

export interface Peer {
  readonly socket: string
  /** Calls that came, by member, with how many connections are open. */
  readonly members: string[]
  readonly connections: Set<Socket>
}

/**
 * Listens, and answers each call with what `reply` gives.
 * @param greeting in place of the two lines of EXTERNAL
 */
export const peer = async (
  reply: (call: { member: string; serial: number; text: string }) => Buffer | string | null,
  greeting = 'DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n',
): Promise<Peer> => {
  const folder = mkdtempSync(join(tmpdir(), 'dbus-peer-'))
  const made: Peer = { socket: join(folder, 'bus'), members: [], connections: new Set() }
  const server = createServer((socket) => {
    made.connections.add(socket)
    socket.on('close', () => made.connections.delete(socket))
    socket.on('error', () => {})
    let received = Buffer.alloc(0)
    let begun = false
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes])
      if (!begun) {
        const end = received.indexOf('BEGIN\r\n')
        if (end < 0) return
        begun = true
        received = received.subarray(end + 7)
        socket.write(greeting)
      }
      while (received.length >= 16) {
        const fields = received.readUInt32LE(12)
        const length = 16 + Math.ceil(fields / 8) * 8 + received.readUInt32LE(4)
        if (received.length < length) return
        const text = received.toString('latin1', 0, length)
        // The field of code 3 with its variant's signature; then four bytes of length.
        const [, after = ''] = text.split('\u0003\u0001s\0')
        const member = after.slice(4, after.indexOf('\0', 4))
        made.members.push(member)
        const said = reply({ member, serial: received.readUInt32LE(8), text })
        received = received.subarray(length)
        if (said !== null) socket.write(said)
      }
    })
  })
  server.listen(made.socket)
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of made.connections) socket.destroy()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return made
}
