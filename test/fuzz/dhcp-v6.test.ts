/**
 * Everything that reads bytes from the network for DHCPv6, with a million cases of chance, and the client that is told
 * of them:
 *
 *   FUZZ_CASES   how many in all, default 1000000
 *   FUZZ_SEED    repeats a run: a failure prints its seed
 */
import fc from 'fast-check'
import { test } from 'vitest'
import { domainName } from '../../ipam/dhcp/domain-names.ts'
import { answerOf, lease6 } from '../../ipam/dhcp/v6/lease.ts'
import { encode, type Message, messageTypes, parse } from '../../ipam/dhcp/v6/message.ts'
import { optionCodes, type Status } from '../../ipam/dhcp/v6/options.ts'
import { parseAdvertisement } from '../../ipam/dhcp/v6/router-advertisement.ts'
import { anyMessage } from '../unit/ipam/dhcp/v6/arbitrary.ts'
import { anyStory, play } from '../unit/ipam/dhcp/v6/chaos.ts'
import { SERVER } from '../unit/ipam/dhcp/v6/scene.ts'
import { damaged, within } from '../unit/ipam/dhcp/wire.ts'

const cases = Number(process.env.FUZZ_CASES ?? 1_000_000)
const seed = Number(process.env.FUZZ_SEED ?? Date.now() & 0x7fff_ffff)

/** Processor time that no case may need, in microseconds. */
const SLOW = 1_000_000

/** Runs `check` on that part of all cases which `share` in a hundred is. */
const fuzz = <T>(share: number, name: string, input: fc.Arbitrary<T>, check: (input: T) => unknown): void => {
  test(name, async () => {
    const numRuns = Math.max(1, Math.round((cases * share) / 100))
    const timed = async (given: T): Promise<void> => {
      const before = process.cpuUsage()
      await check(given)
      const { user } = process.cpuUsage(before)
      if (user > SLOW) throw new Error(`took ${user} microseconds`)
    }
    await fc.assert(fc.asyncProperty(input, timed), { numRuns, seed })
  })
}

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(what)
}

/** `toEqual` costs more than what is tested. Bytes become hex; the order of keys does not count. */
const text = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => {
    if (one instanceof Uint8Array) return Buffer.from(one).toString('hex')
    if (typeof one !== 'object' || one === null || Array.isArray(one)) return one
    return Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
const same = (a: unknown, b: unknown): boolean => text(a) === text(b)

/** A text that would not stay on its line, or leave JSON as it is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const unsafe = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/** What is read can be used, written and read again, and nothing beside it was looked at. */
const checkMessage = (bytes: Uint8Array): void => {
  const message = parse(within(bytes))
  must(same(parse(within(bytes, 0xff)), message), 'read beyond the end')
  if (!message) return
  must(same(parse(encode(message)), message), 'differs when sent')
  const { statusCode, iaNa = [], domainSearch = [] } = message.options
  const statuses: (Status | undefined)[] = [statusCode, ...iaNa.map((ia) => ia.statusCode)]
  for (const status of statuses)
    must(!unsafe.test(status?.message ?? ''), 'a status that is not fit for a log')
  for (const name of domainSearch) must(domainName(name) === name, `${name} is no name`)
  checkLease(message)
}

const checkLease = (message: Message): void => {
  const iaid = message.options.iaNa?.[0]?.iaid ?? 0
  const { lease } = answerOf(message, SERVER, { iaid, held: null, now: 1000 })
  if (lease) must(lease6.safeParse(lease).success, 'a lease that no file could keep')
}

// In a hundred.
fuzz(3, 'messages come back', anyMessage, (given) => {
  must(same(parse(encode(given)), given), 'differs')
})
fuzz(5, 'damaged messages are read', damaged(anyMessage.map(encode)), checkMessage)

/** Bytes as options are made of: known codes, short lengths, zeros. */
const optionByte = fc.oneof(
  fc.constantFrom(0, 0, 0, ...Object.values(optionCodes), 5, 12, 16, 24),
  fc.nat(24),
  fc.nat(255),
)
const optionBytes = fc.array(optionByte, { maxLength: 120, size: 'max' })
const optionMessage = fc
  .tuple(fc.constantFrom(...Object.values(messageTypes)), optionBytes)
  .map(([type, bytes]) => Uint8Array.of(type, 1, 2, 3, ...bytes))
fuzz(27, 'messages of any options are read', optionMessage, checkMessage)

/** Options with a value each that is as long as it says, and may be anything. */
const option = fc
  .tuple(fc.constantFrom(...Object.values(optionCodes), 5, 9), fc.uint8Array({ maxLength: 60, size: 'max' }))
  .map(([code, value]) => [0, code, 0, value.length, ...value])
const nested = fc
  .tuple(fc.uint8Array({ minLength: 12, maxLength: 12 }), fc.array(option, { maxLength: 3 }))
  .map(([fields, options]) => [...fields, ...options.flat()])
  .map((value) => [0, optionCodes.iaNa, value.length >> 8, value.length & 0xff, ...value])
const splittable = fc
  .array(fc.oneof(option, nested), { maxLength: 5 })
  .map((options) => Uint8Array.of(messageTypes.REPLY, 1, 2, 3, ...options.flat()))
fuzz(32, 'messages of options with any value are read', splittable, checkMessage)

const anyBytes = fc.uint8Array({ maxLength: 400, size: 'max' })
fuzz(5, 'any bytes are a message, an advertisement, or neither', anyBytes, (bytes) => {
  parse(within(bytes))
  parseAdvertisement(within(bytes))
})

/** Options of neighbour discovery: a type, a length in units of eight bytes, and what may be anything. */
const unit = fc
  .tuple(fc.constantFrom(1, 3, 5, 25, 31, 200), fc.integer({ min: 0, max: 6 }))
  .chain(([type, length]) =>
    fc
      .uint8Array({ minLength: Math.max(0, length * 8 - 2), maxLength: Math.max(0, length * 8 - 2) })
      .map((rest) => [type, length, ...rest]),
  )
const advertisement = fc
  .tuple(fc.uint8Array({ minLength: 14, maxLength: 14 }), fc.array(unit, { maxLength: 4 }))
  .map(([fields, options]) => Uint8Array.of(134, 0, ...fields, ...options.flat()))
fuzz(27.5, 'advertisements are read, damaged ones too', damaged(advertisement), (bytes) => {
  const found = parseAdvertisement(within(bytes))
  must(same(parseAdvertisement(within(bytes, 0xff)), found), 'read beyond the end')
  for (const { domains } of found?.searchLists ?? [])
    for (const name of domains) must(domainName(name) === name, `${name} is no name`)
})

// Each is a hundred steps.
fuzz(0.5, 'stories end well', anyStory(100), play)
