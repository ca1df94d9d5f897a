import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DBus } from '../../../plugins/firewall/dbus.ts'
import {
  decodeMessage,
  encodeCall,
  MAX_MESSAGE,
  messageLength,
  readBody,
} from '../../../plugins/firewall/dbus-message.ts'
import { eventually } from '../../support/wait.ts'
import { answer, booleanBody, peer, refusal, speak, stringBody } from './dbus-peer.ts'

const soon = { deadline: 5_000 }
const hello = (serial: number): Buffer => answer(serial, 's', stringBody(':1.7'))

describe('messages', () => {
  test('a call in bytes', () => {
    // Put down by hand along the specification.
    const bytes = encodeCall(
      {
        destination: 'org.freedesktop.DBus',
        path: '/org/freedesktop/DBus',
        interface: 'org.freedesktop.DBus',
        member: 'NameHasOwner',
        args: ['a.b'],
      },
      2,
    )
    expect(bytes.toString('latin1')).toBe(
      [
        'l\x01\x02\x01\x08\0\0\0\x02\0\0\0\x7f\0\0\0',
        '\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0',
        '\x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0',
        '\x03\x01s\0\x0c\0\0\0NameHasOwner\0\0\0\0',
        '\x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0',
        '\x08\x01g\0\x01s\0\0',
        '\x03\0\0\0a.b\0',
      ].join(''),
    )
    expect(messageLength(bytes)).toBe(bytes.length)
  })

  test('what D-Bus cannot carry is refused', () => {
    const call = { destination: 'a.b', path: '/', interface: 'a.b', member: 'M', args: ['x\0y'] }
    expect(() => encodeCall(call, 1)).toThrow('NUL')
  })

  test('both byte orders are read', () => {
    const fields = [
      [4, 's', 'a.Error'],
      [5, 'u', 0x01020304],
      [8, 'g', 'u'],
    ] as const
    const little = decodeMessage(speak({ type: 3, fields, body: Buffer.from([1, 2, 0, 0]) }))
    expect(little).toMatchObject({ type: 3, errorName: 'a.Error', replySerial: 0x01020304 })
    expect(readBody(little)).toEqual([0x201])
    const big = decodeMessage(speak({ type: 3, fields, body: Buffer.from([0, 0, 2, 1]), bigEndian: true }))
    expect(big).toMatchObject({ type: 3, errorName: 'a.Error', replySerial: 0x01020304 })
    expect(readBody(big)).toEqual([0x201])
  })

  test('values stand where their alignment puts them', () => {
    const body = {
      bytes: Buffer.from([7, 0, 0xfe, 0xff, 1, 0, 0, 0, 1, 0, 0, 0, 0x61, 0, 1, 0x73, 0]),
      littleEndian: true,
    }
    expect(readBody({ signature: 'ynbsg', body })).toEqual([7, -2, true, 'a', 's'])
  })

  test('a length of gigabytes is refused when it is heard, not when all has come', () => {
    const bytes = answer(1, 's', stringBody('x'))
    bytes.writeUInt32LE(0xffff_fff0, 4)
    expect(() => messageLength(bytes)).toThrow('a message of 4294967')
    bytes.writeUInt32LE(8, 4)
    bytes.writeUInt32LE(0xffff_ffff, 12)
    expect(() => messageLength(bytes)).toThrow('a message of')
    bytes.writeUInt32LE(MAX_MESSAGE - 16, 12)
    bytes.writeUInt32LE(0, 4)
    expect(messageLength(bytes)).toBe(MAX_MESSAGE)
  })

  test.each([
    ['a string beyond the end', 's', Buffer.from([9, 0, 0, 0, 0x61, 0])],
    ['a string of gigabytes', 's', Buffer.from([0xff, 0xff, 0xff, 0xff, 0x61, 0])],
    ['a string without its NUL', 's', Buffer.from([1, 0, 0, 0, 0x61, 0x62])],
    ['nothing', 'b', Buffer.alloc(0)],
    ['half a number', 'u', Buffer.alloc(3)],
    ['a list', 'as', Buffer.alloc(8)],
    ['a variant', 'v', Buffer.alloc(8)],
    ['a nonsense type', '(', Buffer.alloc(8)],
  ])('%s is an error', (_, signature, bytes) => {
    expect(() => readBody({ signature, body: { bytes, littleEndian: true } })).toThrow()
  })

  test('a header field of another type than its own is an error', () => {
    expect(() => decodeMessage(speak({ type: 2, fields: [[5, 's', 'one']] }))).toThrow('header field 5')
  })

  test('any bytes are a message or an error', () => {
    const message = answer(3, 's', stringBody('hello'))
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(message.length - 1), fc.nat(255)), { maxLength: 6 }),
        fc.nat(message.length),
        (changes, cut) => {
          const bytes = Buffer.from(message)
          for (const [at, value] of changes) bytes[at] = value
          const part = bytes.subarray(0, cut)
          try {
            const length = messageLength(part)
            if (length === null || length > part.length) return
            const read = decodeMessage(part.subarray(0, length))
            readBody(read)
          } catch (error) {
            expect(error).toBeInstanceOf(Error)
            expect(error).not.toBeInstanceOf(RangeError)
          }
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('a connection', () => {
  test('calls, and answers find their call in any order', async () => {
    const held: Buffer[] = []
    const { socket } = await peer(({ member, serial }) => {
      if (member === 'Hello') return hello(serial)
      held.push(answer(serial, 's', stringBody(member)))
      return held.length === 2 ? Buffer.concat(held.reverse()) : null
    })
    const bus = await DBus.connect(socket, soon)
    const both = await Promise.all([bus.callBus('First', [], soon), bus.callBus('Second', ['x'], soon)])
    expect(both).toEqual([['First'], ['Second']])
    bus.close()
    bus.close()
    await expect(bus.callBus('Third', [], soon)).rejects.toThrow('closed')
  })

  test('half messages are put together', async () => {
    const { socket, connections } = await peer(({ member, serial }) => {
      const bytes = member === 'Hello' ? hello(serial) : answer(serial, 'b', booleanBody(true))
      const [connection] = connections
      for (const byte of bytes.subarray(0, -1)) connection?.write(Buffer.from([byte]))
      return bytes.subarray(-1)
    })
    const bus = await DBus.connect(socket, soon)
    expect(await bus.callBus('Ask', [], soon)).toEqual([true])
    bus.close()
  })

  test('signals, foreign calls and answers to nobody are passed over', async () => {
    const { socket } = await peer(({ serial }) =>
      Buffer.concat([
        speak({
          type: 4,
          fields: [
            [2, 's', 'a.b'],
            [3, 's', 'NameAcquired'],
            [8, 'g', 'a{sv}'],
          ],
          body: Buffer.alloc(64),
        }),
        speak({
          type: 1,
          fields: [
            [1, 'o', '/'],
            [3, 's', 'Ping'],
          ],
        }),
        speak({ type: 77, fields: [] }),
        answer(serial + 100, 's', stringBody('not yours')),
        answer(serial, 's', stringBody('yours')),
      ]),
    )
    const bus = await DBus.connect(socket, soon)
    expect(await bus.callBus('Ask', [], soon)).toEqual(['yours'])
    bus.close()
  })

  test('an error is told with its name', async () => {
    const { socket } = await peer(({ member, serial }) =>
      member === 'Hello' ? hello(serial) : refusal(serial, 'a.b.Failed', 'no such thing'),
    )
    const bus = await DBus.connect(socket, soon)
    await expect(bus.callBus('Ask', [], soon)).rejects.toMatchObject({
      name: 'DBusError',
      errorName: 'a.b.Failed',
      message: 'no such thing',
    })
    bus.close()
  })

  test('a call that is not answered ends, and the connection is good for the next', async () => {
    const { socket, connections } = await peer(({ member, serial }) =>
      member === 'Silent' ? null : answer(serial, 's', stringBody(member)),
    )
    const bus = await DBus.connect(socket, soon)
    await expect(bus.callBus('Silent', [], { deadline: 30 })).rejects.toMatchObject({ name: 'DBusTimeout' })
    const reason = new Error('given up')
    const controller = new AbortController()
    const call = bus.callBus('Silent', [], { ...soon, signal: controller.signal })
    controller.abort(reason)
    await expect(call).rejects.toBe(reason)
    expect(await bus.callBus('Next', [], soon)).toEqual(['Next'])
    bus.close()
    await eventually('the connection has ended', () => connections.size === 0)
  })

  test.each([
    ['says nothing at all', '', 'has not answered Hello'],
    ['refuses', 'DATA\r\nREJECTED EXTERNAL\r\n', 'refuses this process: "REJECTED EXTERNAL"'],
    ['never ends its line', 'x'.repeat(5000), 'a line without an end'],
    ['goes on with garbage', `DATA\r\nOK 1\r\n${'x'.repeat(64)}`, 'no D-Bus message'],
    [
      'goes on with a huge message',
      'DATA\r\nOK 1\r\nl\x02\0\x01\xff\xff\xff\x7f\x01\0\0\0\0\0\0\0',
      'a message of',
    ],
  ])('a peer that %s', async (_, greeting, message) => {
    const { socket, connections } = await peer(() => null, greeting)
    await expect(DBus.connect(socket, { deadline: 200 })).rejects.toThrow(message)
    await eventually('the connection has ended', () => connections.size === 0)
  })

  test('one that ends in the midst of a call', async () => {
    const { socket, connections } = await peer(({ member, serial }) => {
      if (member === 'Hello') return hello(serial)
      for (const connection of connections)
        connection.end(answer(serial, 's', stringBody('x')).subarray(0, 20))
      return null
    })
    const bus = await DBus.connect(socket, soon)
    await expect(bus.callBus('Ask', [], soon)).rejects.toThrow('closed the connection')
  })

  test('nobody there', async () => {
    await expect(DBus.connect('/nowhere/bus', soon)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
