/**
 * Everything that reads bytes from the network for DHCPv4, with a million cases of chance:
 *
 *   FUZZ_CASES   how many in all, default 1000000
 *   FUZZ_SEED    repeats a run: a failure prints its seed
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { announcement, isConflict, parseArp, probe } from '../../ipam/dhcp/arp.ts'
import { decodeNames, domainName, encodeNames } from '../../ipam/dhcp/domain-names.ts'
import { encodeUdp, parseUdp } from '../../ipam/dhcp/udp.ts'
import { parseClientId } from '../../ipam/dhcp/v4/client-id.ts'
import { encode, type Message, parse } from '../../ipam/dhcp/v4/message.ts'
import {
  type OptionName,
  type OptionValues,
  optionCode,
  optionCodes,
  read,
  write,
} from '../../ipam/dhcp/v4/options.ts'
import { damaged, ipv4, message, within } from '../unit/ipam/dhcp/wire.ts'

const cases = Number(process.env.FUZZ_CASES ?? 1_000_000)
const seed = Number(process.env.FUZZ_SEED ?? Date.now() & 0x7fff_ffff)

/** Processor time that no case may need, in microseconds. */
const SLOW = 1_000_000

/** Runs `check` on that part of all cases which `share` in a hundred is. */
const fuzz = <T>(share: number, name: string, input: fc.Arbitrary<T>, check: (input: T) => void): void => {
  test(name, () => {
    const numRuns = Math.max(1, Math.round((cases * share) / 100))
    const timed = (given: T): void => {
      const before = process.cpuUsage()
      check(given)
      const { user } = process.cpuUsage(before)
      if (user > SLOW) throw new Error(`took ${user} microseconds`)
    }
    fc.assert(fc.property(input, timed), { numRuns, seed })
  })
}

/** `toEqual` costs more than what is tested. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(what)
}

const sameMessage = (a: Message, b: Message): boolean => {
  const { chaddr, options, ...fields } = a
  const { chaddr: otherChaddr, options: otherOptions, ...otherFields } = b
  return (
    JSON.stringify(fields) === JSON.stringify(otherFields) &&
    same(chaddr, otherChaddr) &&
    options.size === otherOptions.size &&
    [...options].every(([code, value]) => same(value, otherOptions.get(code)!))
  )
}

const names = Object.keys(optionCodes) as OptionName[]

/** All that a client would ask of a message. */
const readAll = (options: Message['options']): OptionValues =>
  Object.fromEntries(names.map((name) => [name, read({ options }, name)]))

/** A text that would not stay on its line, or leave JSON as it is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

const checkValues = (values: OptionValues): void => {
  must(!unsafe.test(values.message ?? ''), 'a message that is not fit for a log')
  for (const name of [values.hostName, values.domainName, ...(values.domainSearch ?? [])])
    must(name === undefined || domainName(name) === name, `${name} is no name`)
}

// In a hundred.
fuzz(15, 'messages come back', message(), (given) => {
  must(sameMessage(parse(encode(given))!, given), 'differs')
})
fuzz(1, 'messages with long options come back', message(1500, 4), (given) => {
  must(sameMessage(parse(encode(given))!, given), 'differs')
})

/** Bytes as options are made of: known codes, short lengths, now and then padding or an end. */
const optionBytes = fc
  .array(fc.oneof(fc.constantFrom(...Object.values(optionCodes), 0, 52, 255), fc.nat(12), fc.nat(255)), {
    maxLength: 64,
    size: 'max',
  })
  .map((bytes) => Uint8Array.from(bytes))

const overloaded = fc.tuple(optionBytes, optionBytes, optionBytes).map(([sname, file, options]) => {
  const bytes = new Uint8Array(240 + options.length)
  bytes.set([2, 1, 6])
  bytes.set(sname, 44)
  bytes.set(file, 108)
  bytes.set([0x63, 0x82, 0x53, 0x63], 236)
  bytes.set(options, 240)
  return bytes
})

fuzz(20, 'messages of any options and overload are read, and their values', overloaded, (bytes) => {
  const parsed = parse(within(bytes))!
  must(sameMessage(parse(within(bytes, 0xff))!, parsed), 'read beyond the end')
  must(sameMessage(parse(encode(parsed))!, parsed), 'differs when sent')
  checkValues(readAll(parsed.options))
})

fuzz(10, 'damaged messages are read', damaged(message().map(encode)), (bytes) => {
  const parsed = parse(within(bytes))
  if (parsed) checkValues(readAll(parsed.options))
})

fuzz(
  3,
  'any bytes are a message, a datagram, an ARP packet, names, or none',
  fc.uint8Array({ maxLength: 400, size: 'max' }),
  (bytes) => {
    const input = within(bytes)
    parse(input)
    parseUdp(input)
    parseArp(input)
    decodeNames(input)
  },
)

fuzz(
  20,
  'any value of an option is read, and written as it was read',
  fc.tuple(fc.constantFrom(...names), optionBytes),
  ([name, bytes]) => {
    const reading = (value: Uint8Array) => read({ options: new Map([[optionCodes[name], value]]) }, name)
    const value = reading(within(bytes))
    if (value === undefined) return
    checkValues({ [name]: value })
    const written = write({ [name]: value }).get(optionCodes[name])!
    must(JSON.stringify(reading(written)) === JSON.stringify(value), 'differs')
  },
)

const datagram = fc.record({
  source: ipv4,
  destination: ipv4,
  sourcePort: fc.nat(0xffff),
  destinationPort: fc.nat(0xffff),
  payload: fc.uint8Array({ maxLength: 40, size: 'max' }),
})
fuzz(6, 'datagrams come back', datagram, (given) => {
  const { payload, ...header } = parseUdp(encodeUdp(given))!
  must(same(payload, given.payload), 'the payload differs')
  expect({ ...given, ...header }).toEqual(given)
})
fuzz(8, 'damaged datagrams are read', damaged(datagram.map(encodeUdp)), (bytes) => {
  const read = parseUdp(within(bytes))
  must(JSON.stringify(parseUdp(within(bytes, 0xff))) === JSON.stringify(read), 'read beyond the end')
})

const claim = { mac: '02:00:5e:00:53:01', address: '192.0.2.7' }
fuzz(
  5,
  'damaged ARP packets are read',
  damaged(fc.constantFrom(probe(claim), announcement(claim))),
  (bytes) => {
    const arp = parseArp(within(bytes))
    if (arp) isConflict(arp, claim)
  },
)

/** Pointers, short labels and ends, as names are made of. */
const nameByte = fc.oneof(fc.constantFrom(0xc0, 0x61, 0, 1), fc.nat(12), fc.nat(0xff))
const nameBytes = fc.array(nameByte, { maxLength: 64, size: 'max' }).map((bytes) => Uint8Array.from(bytes))
fuzz(10, 'names of any bytes are read, and written as they were read', nameBytes, (bytes) => {
  const found = decodeNames(within(bytes))
  const plain = decodeNames(within(bytes, 0), { compression: false })
  must(!plain || plain.join() === found?.join(), 'differs without compression')
  if (found) must(decodeNames(encodeNames(found))?.join() === found.join(), 'differs when written')
})

fuzz(
  2,
  'any text configures an identifier and an option, or none',
  fc.string({ unit: 'binary', maxLength: 300, size: 'max' }),
  (text) => {
    for (const given of [text, `hex:${text}`]) {
      const id = parseClientId(given)
      if (id?.form === 'bytes')
        must(id.bytes.length >= 2 && id.bytes.length <= 255, 'a length that has no option')
    }
    const code = optionCode(text)
    must(code === null || (code >= 0 && code <= 255), 'not a code')
  },
)
