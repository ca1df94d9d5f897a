import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteQueue } from '../../../../../ipam/dhcp/rpc/byte-queue.ts'
import {
  cmdArgs,
  empty,
  fromGoResult,
  goResult,
  request,
  response,
  toGoResult,
} from '../../../../../ipam/dhcp/rpc/go-messages.ts'
import {
  bytes,
  GobDecoder,
  GobEncoder,
  GobError,
  type GobStruct,
  int,
  item,
  MAX_MESSAGE,
  struct,
  text,
  uint,
} from '../../../../../ipam/dhcp/rpc/gob.ts'
import { GobBytes, putInt, putUint } from '../../../../../ipam/dhcp/rpc/gob-bytes.ts'
import { definitionOf, wireType } from '../../../../../ipam/dhcp/rpc/gob-definitions.ts'
import { Writer } from '../../../../../netlink/codec/writer.ts'
import { result } from './fake-keeper.ts'
import {
  bytesOf,
  decodeAll,
  emptyDefinition,
  emptyValue,
  errorReply,
  firstWrite,
  fromGo,
  hex,
  laterRequest,
  plain,
  queueOf,
  resultValue,
} from './gob-bytes.ts'

const args = {
  ...cmdArgs.zero,
  ContainerID: 'c1',
  Netns: '/var/run/netns/x',
  IfName: 'eth0',
  Path: '/opt/cni/bin',
  StdinData: Buffer.from('{}'),
}
const call = (ServiceMethod: string, Seq: bigint) => item(request, { ServiceMethod, Seq })

/** A message that defines a type, or has a value, by hand. */
const message = (put: (writer: Writer) => void): Uint8Array => {
  const body = new Writer()
  put(body)
  const out = new Writer()
  putUint(out, BigInt(body.length))
  out.put(body.bytes.subarray(0, body.length))
  return out.bytes.slice(0, out.length)
}
const definition = (id: number, wire: Partial<typeof wireType.zero>): Uint8Array =>
  message((writer) => {
    putInt(writer, BigInt(-id))
    wireType.put(writer, { ...wireType.zero, ...wire })
  })
const common = (id: number) => ({ Name: '', Id: id })

describe('what Go sends', () => {
  test("the client's first write", () => {
    const [head, body] = decodeAll(firstWrite)
    expect(request.from(head!)).toEqual({ ServiceMethod: 'DHCP.Allocate', Seq: 0n })
    expect(cmdArgs.from(body!)).toEqual({ ...args, StdinData: new Uint8Array(Buffer.from('{}')) })
  })

  test('a later request needs no definitions', () => {
    const decoder = new GobDecoder()
    decodeAll(firstWrite, decoder)
    const [head] = decodeAll(laterRequest, decoder)
    expect(request.from(head!)).toEqual({ ServiceMethod: 'DHCP.Release', Seq: 1n })
  })

  test('an error, and the empty struct after it', () => {
    const decoder = new GobDecoder()
    const reply = item(response, { ServiceMethod: 'x', Seq: 0n, Error: '' })
    decodeAll(new GobEncoder().encode(reply), decoder)
    const [head, body] = decodeAll(Buffer.concat([errorReply, emptyDefinition, emptyValue]), decoder)
    expect(response.from(head!)).toEqual({ ServiceMethod: 'DHCP.Release', Seq: 2n, Error: 'boom' })
    expect(empty.from(body!)).toEqual({})
  })

  test('a lease', () => {
    const decoder = new GobDecoder()
    decodeAll(new GobEncoder().encode(item(goResult, goResult.zero)), decoder)
    const [value] = decodeAll(resultValue, decoder)
    expect(fromGoResult(goResult.from(value!))).toMatchObject({
      ips: [{ address: '192.168.1.5/24', gateway: '192.168.1.1' }],
      routes: [
        { dst: '0.0.0.0/0', gw: '192.168.1.1' },
        { dst: '10.0.0.0/8', gw: '0.0.0.0', priority: 7, scope: 253 },
      ],
    })
  })

  test('values of every kind of type, by whatever definitions', () => {
    expect(decodeAll(bytesOf(fromGo.wide)).map(plain)).toEqual([
      {
        Bool: true,
        Int: -(1n << 62n),
        Neg: -128n,
        Uint: (1n << 64n) - 1n,
        Float: 6.25,
        Text: 'grüß',
        Bytes: '00ff',
        Array: [1n, -2n, 3n],
        Slice: [{ A: 1n, B: ['x', ''] }, {}],
        Map: new Map([['k', { A: 300n }]]),
        Pointer: 7n,
        When: hex(Buffer.from('hi')),
        Nums: new Map([[-1n, true]]),
      },
    ])
    expect(decodeAll(bytesOf(fromGo.node)).map(plain)).toEqual([
      { Name: 'a', Next: { Name: 'b', Next: { Name: 'c' } } },
    ])
    const single = (name: keyof typeof fromGo) => decodeAll(bytesOf(fromGo[name])).map(plain)
    expect(single('int')).toEqual([-5n])
    expect(single('string')).toEqual(['hello'])
    expect(single('slice')).toEqual([[1n, 2n]])
    expect(single('map')).toEqual([new Map([['a', 1n]])])
    expect(single('nil')).toEqual([{}])
    expect(single('floats')).toEqual([[0, 1, -1, 17, 0.1, 1e300, -1e-300]])
  })

  test('numbers of every length', () => {
    const [ints] = decodeAll(bytesOf(fromGo.ints)) as [bigint[]]
    expect(ints).toEqual([
      ...[0n, 1n, -1n, 63n, -64n, 64n, -65n, 127n, 128n, 255n, 256n, 1n << 31n, -(1n << 31n)],
      ...[1n << 53n, -(1n << 53n), (1n << 63n) - 1n, -(1n << 63n)],
    ])
    const [uints] = decodeAll(bytesOf(fromGo.uints)) as [bigint[]]
    expect(uints).toEqual([
      ...[0n, 1n, 127n, 128n, 255n, 256n, 65535n, 65536n, 1n << 32n, 1n << 63n, (1n << 64n) - 1n],
    ])
    // And they are written as Go has written them.
    const writer = new Writer()
    for (const value of ints) putInt(writer, value)
    for (const value of uints) putUint(writer, value)
    const written = hex(writer.bytes.subarray(0, writer.length))
    expect(written).toBe(fromGo.ints.slice(36) + fromGo.uints.slice(36))
  })

  test('interfaces and complex numbers are refused where there is one', () => {
    expect(() => decodeAll(bytesOf(fromGo.any))).toThrow(
      new GobError('a value of type interface is not taken here'),
    )
    expect(() => decodeAll(bytesOf(fromGo.complex))).toThrow(GobError)
  })
})

describe('what Go gets', () => {
  test("the client's first write", () => {
    const encoder = new GobEncoder()
    expect(hex(encoder.encode(call('DHCP.Allocate', 0n), item(cmdArgs, args)))).toBe(hex(firstWrite))
    expect(hex(encoder.encode(call('DHCP.Release', 1n)))).toBe(hex(laterRequest))
  })

  test('an error', () => {
    const encoder = new GobEncoder()
    const reply = (Seq: bigint) => item(response, { ServiceMethod: 'DHCP.Release', Seq, Error: 'boom' })
    encoder.encode(reply(1n))
    const bytes = encoder.encode(reply(2n), item(empty, {}))
    expect(hex(bytes)).toBe(hex(Buffer.concat([errorReply, emptyDefinition, emptyValue])))
    expect(hex(encoder.encode(item(empty, {})))).toBe(hex(emptyValue))
  })

  test('a lease', () => {
    const encoder = new GobEncoder()
    encoder.encode(item(goResult, goResult.zero))
    const lease = toGoResult({
      ips: [{ address: '192.168.1.5/24', gateway: '192.168.1.1' }],
      routes: [
        { dst: '0.0.0.0/0', gw: '192.168.1.1' },
        { dst: '10.0.0.0/8', gw: '0.0.0.0', priority: 7, scope: 253 },
      ],
    })
    expect(hex(encoder.encode(item(goResult, lease)))).toBe(hex(resultValue))
  })

  test('nothing at all of what could not be encoded: later values still find their definitions', () => {
    const encoder = new GobEncoder()
    const bad = toGoResult({ ...result, routes: [{ dst: '0.0.0.0/0', mtu: 0.5 }] })
    const reply = item(response, { ServiceMethod: 'x', Seq: 1n, Error: '' })
    expect(() => encoder.encode(reply, item(goResult, bad))).toThrow(RangeError)
    expect(decodeAll(encoder.encode(reply, item(empty, {})))).toHaveLength(2)
  })

  test('no address that is none', () => {
    expect(() => toGoResult({ ips: [{ address: '10.0.0.1' }] })).toThrow(RangeError)
    expect(() => toGoResult({ routes: [{ dst: '10.0.0.0/8', gw: 'x' }] })).toThrow(RangeError)
  })
})

describe('results', () => {
  test('come back as they were', () => {
    const back = fromGoResult(
      goResult.from(decodeAll(new GobEncoder().encode(item(goResult, toGoResult(result))))[0]!),
    )
    expect(back).toEqual({ interfaces: [], ...result, dns: { ...result.dns, options: [] } })
  })

  test("may have IPv4 in 16 bytes, as Go's net.IP often has", () => {
    const Address = { IP: bytesOf('00000000000000000000ffff0a000001'), Mask: bytesOf('ff000000') }
    const wide = { ...Address, Mask: bytesOf('ffffffffffffffffffffffffffff0000') }
    const read = (IPs: (typeof Address)[]) =>
      fromGoResult({
        ...goResult.zero,
        IPs: IPs.map((Address) => ({ Interface: undefined, Address, Gateway: new Uint8Array(0) })),
      }).ips?.map(({ address }) => address)
    expect(read([Address, wide])).toEqual(['10.0.0.1/8', '10.0.0.1/16'])
    expect(() => read([{ ...Address, Mask: bytesOf('ff00ff00') }])).toThrow(GobError)
    expect(() => read([{ ...Address, Mask: bytesOf('ff00') }])).toThrow(GobError)
    expect(() => read([{ ...Address, IP: bytesOf('0a00') }])).toThrow(GobError)
    expect(() => read([{ ...Address, IP: new Uint8Array(0) }])).toThrow(GobError)
  })

  test('of a peer that knows more fields, and fewer, are read', () => {
    const newer = struct(70, 'Response', { Seq: uint, More: text, Error: text })
    const [value] = decodeAll(new GobEncoder().encode(item(newer, { Seq: 3n, More: 'x', Error: 'e' })))
    expect(response.from(value!)).toEqual({ ServiceMethod: '', Seq: 3n, Error: 'e' })
  })

  test('of other types are a mismatch', () => {
    const other = struct(70, 'Response', { Seq: text, Error: bytes })
    const [value] = decodeAll(new GobEncoder().encode(item(other, { Seq: 'x', Error: new Uint8Array(0) })))
    expect(() => response.from(value!)).toThrow('type mismatch: expected uint, got string')
    expect(() => request.from('x')).toThrow('type mismatch: expected struct Request, got string')
    expect(() => int.from(1n << 60n)).toThrow(GobError)
    expect(() => uint.from(-1n)).toThrow(GobError)
  })
})

describe('whatever comes in whatever pieces', () => {
  test('is the same', () => {
    const all = Buffer.concat([firstWrite, laterRequest])
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 })), (sizes) => {
        const decoder = new GobDecoder()
        const queue = new ByteQueue()
        let found = 0
        let at = 0
        for (const size of [...sizes, all.length]) {
          queue.push(Uint8Array.from(all.subarray(at, at + size)))
          at += size
          while (decoder.take(queue)) found++
        }
        expect(found).toBe(3)
        expect(queue.length).toBe(0)
      }),
    )
  })
})

describe('limits', () => {
  const refused = (bytes: Uint8Array): string => {
    try {
      decodeAll(bytes)
    } catch (error) {
      expect(error).toBeInstanceOf(GobError)
      return (error as Error).message
    }
    throw new Error('it was taken')
  }

  test('of a message are known from its length', () => {
    const length = message((writer) => putUint(writer, BigInt(MAX_MESSAGE + 1))).subarray(1)
    expect(refused(length)).toBe(`a message of ${MAX_MESSAGE + 1} bytes`)
    expect(refused(bytesOf('00'))).toBe('a message of 0 bytes')
    expect(refused(bytesOf('f7 01'))).toBe('a number of 9 bytes')
  })

  test('of types: what is defined twice, is built in, is too long or too many', () => {
    const type = (id: number) => definition(id, { SliceT: { CommonType: common(id), Elem: 2 } })
    expect(refused(Buffer.concat([type(65), type(65)]))).toBe('type 65 is defined twice')
    expect(refused(type(6))).toBe('type 6 is defined twice')
    expect(refused(type(30))).toBe('type 30 is defined twice')
    const many = Array.from({ length: 65 }, (_, i) => type(65 + i))
    decodeAll(Buffer.concat(many.slice(1)))
    expect(refused(Buffer.concat(many))).toBe('more than 64 types')
    const Field = Array.from({ length: 1000 }, () => ({ Name: 'x', Id: 2 }))
    expect(refused(definition(65, { StructT: { CommonType: common(65), Field } }))).toMatch('too long')
    expect(refused(definition(65, {}))).toMatch('defines no type')
    const SliceT = { CommonType: common(65), Elem: 2 }
    expect(refused(definition(65, { SliceT, MapT: { ...SliceT, Key: 2 } }))).toMatch('more than one')
  })

  const slices = definition(65, { SliceT: { CommonType: common(65), Elem: 65 } })
  const value = (text: string) => message((writer) => writer.put(bytesOf(text)))

  test('of depth', () => {
    expect(decodeAll(Buffer.concat([slices, value(`ff82 00 ${'01'.repeat(31)} 00`)]))).toHaveLength(1)
    const deep = Buffer.concat([slices, value(`ff82 00 ${'01'.repeat(40)} 00`)])
    expect(refused(deep)).toBe('values more than 32 deep')
  })

  test('of what is announced', () => {
    expect(refused(Buffer.concat([slices, value('ff82 00 7f 00')]))).toBe('127 elements announced in 1 bytes')
    expect(refused(value('0c 00 f8 ffffffffffffffff 00'))).toMatch(/^18446744073709551615 elements/)
    const array = definition(65, { ArrayT: { CommonType: common(65), Elem: 2, Len: 1e15 } })
    expect(refused(Buffer.concat([array, value('ff82 00 01 00')]))).toBe(
      '1 elements of an array of 1000000000000000',
    )
  })

  test('of values in a message', () => {
    const many = new Uint8Array(70_000)
    const all = message((writer) => {
      writer.put(bytesOf('ff82 00'))
      putUint(writer, BigInt(many.length))
      writer.put(many)
    })
    expect(refused(Buffer.concat([slices, all]))).toBe('more than 65536 values in a message')
  })

  test('of structs: no field behind the last, nothing behind the end', () => {
    const structs = definition(65, definitionOf(struct(65, 'S', { A: int })))
    expect(refused(Buffer.concat([structs, value('ff82 02 02 00')]))).toBe('field 1 of a struct of 1')
    expect(refused(Buffer.concat([structs, value('ff82 01 02 00 00')]))).toBe('1 bytes too many in a message')
    expect(refused(Buffer.concat([structs, value('ff82 01 02')]))).toBe('a message ends 1 bytes too early')
    expect(refused(Buffer.concat([structs, value('ff82 f8ffffffffffffffff 00')]))).toMatch('too large')
    expect(refused(value('ff82 00'))).toBe('type 65 is not defined')
    expect(refused(value('04 01 00'))).toMatch('begins with a zero')
  })
})

test('a queue gives back what it was given, and no more', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 50 }), fc.integer({ min: 0, max: 60 }))),
      (steps) => {
        const queue = new ByteQueue()
        let model = Buffer.alloc(0)
        for (const step of steps) {
          if (typeof step === 'number') {
            if (step > model.length) {
              expect(() => queue.take(step)).toThrow(RangeError)
              continue
            }
            expect(hex(queue.take(step))).toBe(hex(model.subarray(0, step)))
            model = model.subarray(step)
          } else {
            queue.push(step.slice())
            model = Buffer.concat([model, step])
          }
          expect(queue.length).toBe(model.length)
          expect(hex(queue.peek())).toBe(hex(model))
        }
      },
    ),
  )
})

test('bytes are read to their end and not beyond', () => {
  const read = new GobBytes(bytesOf('02 0102'))
  expect(hex(read.bytes())).toBe('0102')
  expect(() => read.uint()).toThrow(GobError)
  expect(() => new GobBytes(bytesOf('fe01')).uint()).toThrow(GobError)
  const value = decodeAll(new GobEncoder().encode(call('x', 1n)))[0] as GobStruct
  expect(value.fields.size).toBe(2)
  expect(queueOf(emptyValue).length).toBe(4)
})
