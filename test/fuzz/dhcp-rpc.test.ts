/**
 * Everything that reads bytes from the DHCP daemon's socket, with a million cases of chance:
 *
 *   FUZZ_CASES   how many in all, default 1000000
 *   FUZZ_SEED    repeats a run: a failure prints its seed
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { CniError } from '../../cni/error.ts'
import type { Result } from '../../cni/types.ts'
import { ByteQueue } from '../../ipam/dhcp/rpc/byte-queue.ts'
import { readError, readGcParams, readLeaseCall, readLeases, readStatus } from '../../ipam/dhcp/rpc/fields.ts'
import {
  cmdArgs,
  fromGoResult,
  goResult,
  request,
  response,
  toGoResult,
} from '../../ipam/dhcp/rpc/go-messages.ts'
import {
  GobDecoder,
  GobEncoder,
  GobError,
  type GobType,
  type GobValue,
  item,
} from '../../ipam/dhcp/rpc/gob.ts'
import { putBytes, putInt, putUint } from '../../ipam/dhcp/rpc/gob-bytes.ts'
import { wireType } from '../../ipam/dhcp/rpc/gob-definitions.ts'
import { statusOf } from '../../ipam/dhcp/rpc/greeting.ts'
import { Writer } from '../../netlink/codec/writer.ts'
import { formatIp } from '../../netlink/ip.ts'

const cases = Number(process.env.FUZZ_CASES ?? 1_000_000)
const seed = Number(process.env.FUZZ_SEED ?? Date.now() & 0x7fff_ffff)

/** Runs `check` on that part of all cases which `share` in a hundred is. */
const fuzz = <T>(share: number, name: string, input: fc.Arbitrary<T>, check: (input: T) => void): void => {
  test(name, () => {
    const numRuns = Math.max(1, Math.round((cases * share) / 100))
    fc.assert(fc.property(input, check), { numRuns, seed })
  })
}

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(what)
}

/** Does it; the only error it may have is of `kind`. */
const only = (kind: new (...args: never[]) => Error, work: () => unknown): void => {
  try {
    work()
  } catch (error) {
    if (!(error instanceof kind)) throw error
  }
}

const written = (put: (writer: Writer) => void): Uint8Array => {
  const writer = new Writer()
  put(writer)
  return writer.bytes.slice(0, writer.length)
}
const framed = (body: Uint8Array): Uint8Array => written((writer) => putBytes(writer, body))

/** Takes all values there are, as whatever type of ours they might be. */
const takeAll = (bytes: Uint8Array, types: readonly GobType<unknown>[] = []): void => {
  const decoder = new GobDecoder()
  const queue = new ByteQueue()
  queue.push(bytes.slice())
  only(GobError, () => {
    for (let value = decoder.take(queue); value !== undefined; value = decoder.take(queue))
      readAs(value, types)
  })
  must(queue.length <= bytes.length, 'more is left than there was')
}

const readAs = (value: GobValue, types: readonly GobType<unknown>[]): void => {
  for (const type of types) only(GobError, () => type.from(value))
  only(GobError, () => fromGoResult(goResult.from(value)))
}

/** Graphemes of fast-check's own choice take a hundred times as long. */
const text = fc.oneof(fc.string({ maxLength: 20 }), fc.constantFrom('', 'grüß', '\u0000', '😀', '__proto__'))
const count = fc.integer({ min: 0, max: 0x7fff_ffff })
const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(formatIp)
const cidr = fc
  .tuple(address, fc.nat(128))
  .map(([ip, prefix]) => `${ip}/${ip.includes(':') ? prefix : prefix % 33}`)
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const positive = optional(fc.integer({ min: 1, max: 0x7fff_ffff }))
const word = optional(fc.string({ minLength: 1, maxLength: 20 }))

const result: fc.Arbitrary<Result> = fc.record({
  interfaces: fc.array(
    fc.record({ name: text, mac: word, mtu: positive, sandbox: word, socketPath: word, pciID: word }),
    { maxLength: 3 },
  ),
  ips: fc.array(fc.record({ address: cidr, gateway: optional(address), interface: positive }), {
    maxLength: 3,
  }),
  routes: fc.array(
    fc.record({
      dst: cidr,
      gw: optional(address),
      mtu: positive,
      advmss: positive,
      priority: positive,
      table: positive,
      scope: positive,
    }),
    { maxLength: 3 },
  ),
  dns: fc.record({
    nameservers: fc.array(text, { maxLength: 3 }),
    domain: word,
    search: fc.array(text, { maxLength: 3 }),
    options: fc.array(text, { maxLength: 3 }),
  }),
})

const args = fc.record({
  ContainerID: text,
  Netns: text,
  IfName: text,
  Args: text,
  Path: text,
  NetnsOverride: text,
  StdinData: fc.uint8Array({ maxLength: 60 }),
})

/** A stream as a client sends it, or a server. */
const stream = fc.oneof(
  fc
    .tuple(text, fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), args)
    .map(([ServiceMethod, Seq, given]) =>
      new GobEncoder().encode(item(request, { ServiceMethod, Seq }), item(cmdArgs, given)),
    ),
  fc
    .tuple(text, text, result)
    .map(([ServiceMethod, error, given]) =>
      new GobEncoder().encode(
        item(response, { ServiceMethod, Seq: 0n, Error: error }),
        item(goResult, toGoResult(given)),
      ),
    ),
)

const damaged = fc
  .tuple(
    stream,
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'cut', 'add')), { maxLength: 5 }),
  )
  .map(([bytes, changes]) => {
    let all = Buffer.from(bytes)
    for (const [where, value, how] of changes) {
      const at = where % Math.max(1, all.length)
      if (how === 'set') all[at] = value
      else if (how === 'cut') all = Buffer.concat([all.subarray(0, at), all.subarray(at + 1 + (value % 8))])
      else all = Buffer.concat([all.subarray(0, at), Buffer.of(value), all.subarray(at)])
    }
    return all
  })

/** Numbers of types that may be there, and of some that are not. */
const typeId = fc.integer({ min: -1, max: 72 })
const named = typeId.map((Id) => ({ Name: '', Id }))
const definition = fc
  .tuple(
    fc.integer({ min: 60, max: 72 }),
    fc.record(
      {
        ArrayT: fc.record({ CommonType: named, Elem: typeId, Len: count }),
        SliceT: fc.record({ CommonType: named, Elem: typeId }),
        MapT: fc.record({ CommonType: named, Key: typeId, Elem: typeId }),
        StructT: fc.record({
          CommonType: named,
          Field: fc.array(fc.record({ Name: text, Id: typeId }), { maxLength: 4 }),
        }),
        GobEncoderT: fc.record({ CommonType: named }),
      },
      { requiredKeys: [] },
    ),
  )
  .map(([id, shape]) =>
    framed(
      written((writer) => {
        putInt(writer, BigInt(-id))
        wireType.put(writer, { ...wireType.zero, ...shape })
      }),
    ),
  )
/** Small numbers mostly: counts and fields that are there. */
const content = fc.array(
  fc.oneof({ weight: 4, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.nat(255) }),
  {
    maxLength: 40,
  },
)
const value = fc
  .tuple(typeId, content)
  .map(([id, bytes]) =>
    framed(Buffer.concat([written((writer) => putInt(writer, BigInt(id))), Buffer.from(bytes)])),
  )
const soup = fc
  .array(fc.oneof(definition, value), { maxLength: 12 })
  .map((messages) => Buffer.concat(messages))

// In a hundred.
fuzz(10, 'results come back', result, (given) => {
  const queue = new ByteQueue()
  queue.push(new GobEncoder().encode(item(goResult, toGoResult(given))))
  const back = fromGoResult(goResult.from(new GobDecoder().take(queue)!))
  must(JSON.stringify(back) === JSON.stringify(given), 'differs')
})

fuzz(
  10,
  'arguments come back, however they are cut',
  fc.tuple(args, fc.array(fc.nat(30))),
  ([given, cuts]) => {
    const bytes = new GobEncoder().encode(item(cmdArgs, given))
    const decoder = new GobDecoder()
    const queue = new ByteQueue()
    let back: GobValue | undefined
    let at = 0
    for (const cut of [...cuts, bytes.length]) {
      if (at === bytes.length) break
      queue.push(bytes.slice(at, at + cut))
      at = Math.min(bytes.length, at + cut)
      back ??= decoder.take(queue)
    }
    const { StdinData, ...texts } = cmdArgs.from(back!)
    const { StdinData: expected, ...others } = given
    must(JSON.stringify(texts) === JSON.stringify(others), 'differs')
    must(Buffer.compare(StdinData, expected) === 0, 'differs')
  },
)

fuzz(20, 'damaged streams are read', damaged, (bytes) => takeAll(bytes, [request, response, cmdArgs]))
fuzz(10, 'bytes of any kind are read', fc.uint8Array({ maxLength: 120 }), (bytes) =>
  takeAll(bytes, [request]),
)
fuzz(35, 'definitions of any kind, and values by them, are read', soup, (bytes) => takeAll(bytes))

fuzz(5, 'numbers come back', fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), (given) => {
  const bytes = framed(
    written((writer) => {
      putInt(writer, 2n)
      putUint(writer, 0n)
      putInt(writer, given)
    }),
  )
  const queue = new ByteQueue()
  queue.push(bytes)
  must(new GobDecoder().take(queue) === given, 'differs')
})

const params = fc.record(
  {
    containerId: fc.oneof(text, fc.jsonValue()),
    ifName: fc.oneof(text, fc.jsonValue()),
    netns: text,
    args: text,
    conf: fc.jsonValue(),
    network: text,
    valid: fc.jsonValue(),
    version: fc.oneof(text, fc.constantFrom(4, 6)),
    state: text,
    code: fc.oneof(fc.integer(), text),
    msg: text,
  },
  { requiredKeys: [] },
)
fuzz(10, 'JSON of any kind is read', fc.oneof(params, fc.jsonValue()), (json) => {
  for (const read of [readLeaseCall, readGcParams, readStatus, readError]) only(CniError, () => read(json))
  only(CniError, () => readLeases([json]))
  must(statusOf(JSON.stringify(json)) === undefined, 'a status')
})
