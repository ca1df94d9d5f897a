/**
 * The daemon, and launchers that say anything. What it serves is a plugin that does nothing:
 *
 *   FUZZ_CASES   a hundred times how many, default 1000000
 *   FUZZ_SEED    repeats a run: a failure prints its seed
 */
import { memoryUsage } from 'node:process'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import { definePlugin } from '../../cni/plugin.ts'
import { commonConf } from '../../cni/schema.ts'
import { allVersions } from '../../cni/types.ts'
import { encodeGreeting, encodeRequest } from '../../daemon/protocol.ts'
import { type Binding, binding, type Descriptor } from '../../native/binding.ts'
import { Client, requestOf } from '../support/daemon/client.ts'
import { descriptorsOf, inProcess } from '../support/daemon/start.ts'
import { space } from '../support/space.ts'
import { eventually } from '../support/wait.ts'

const cases = Math.max(1, Math.round(Number(process.env.FUZZ_CASES ?? 1_000_000) / 100))
const seed = Number(process.env.FUZZ_SEED ?? Date.now() & 0x7fff_ffff)

const nothing = definePlugin({
  type: 'nothing',
  kind: 'interface',
  versions: allVersions,
  conf: z.object(commonConf),
  add: async () => ({ ips: [{ address: '10.1.2.3/24' }] }),
  check: async () => {},
  del: async () => {},
})

const verb = fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', '', 'NOPE')
const conf = fc.oneof(
  fc.constant('{"cniVersion":"1.1.0","name":"net","type":"nothing"}'),
  fc.json(),
  fc.string({ maxLength: 40, unit: 'binary' }),
)
/** How a launcher leaves: properly, or at any moment. */
const ending = fc.constantFrom('acknowledge', 'cancel', 'garbage', 'vanish')

/** Some bytes of a request are others, it may end early or go on, and it comes in pieces. */
const spoil = fc.record({
  changes: fc.oneof(
    { weight: 2, arbitrary: fc.constant([] as [number, number][]) },
    fc.array(fc.tuple(fc.nat(1 << 16), fc.nat(255)), { maxLength: 4 }),
  ),
  cut: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, fc.double({ min: 0, max: 1, noNaN: true })),
  rest: fc.oneof({ weight: 4, arbitrary: fc.constant(new Uint8Array()) }, fc.uint8Array({ maxLength: 8 })),
  pieces: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
})

const piecesOf = (
  bytes: Uint8Array,
  { changes, cut, rest, pieces }: typeof spoil extends fc.Arbitrary<infer T> ? T : never,
): Uint8Array[] => {
  const copy = Uint8Array.from(bytes)
  for (const [at, value] of changes) copy[at % copy.length] = value
  const whole = Buffer.concat([copy.subarray(0, Math.round(copy.length * cut)), rest])
  const ends = [
    ...pieces.map((share) => Math.round(whole.length * share)).sort((a, b) => a - b),
    whole.length,
  ]
  return ends.map((end, i) => whole.subarray(ends[i - 1] ?? 0, end)).filter((piece) => piece.length > 0)
}

/** Which descriptors come along: the right ones, none, too many. */
const along = fc.constantFrom('right', 'right', 'right', 'none', 'many')

const chosen = (native: Binding, how: string, right: readonly Descriptor[], from: string): Descriptor[] => {
  if (how === 'none') return []
  return how === 'right' ? [...right] : [...right, ...[1, 2, 3].map(() => native.open(from, 0, 0))]
}

test('whatever launchers say, the daemon serves the next one, and keeps nothing of them', async () => {
  const plugins = new Map([['nothing', nothing]])
  const { path, daemon } = await inProcess({ plugins, idleTimeout: 200, printTimeout: 200 })
  const host = await space()
  const native = binding()
  const before = descriptorsOf()
  const greeting = fc.oneof(
    { weight: 6, arbitrary: fc.constant(encodeGreeting() as Uint8Array) },
    fc.uint8Array({ maxLength: 20 }),
  )
  const one = fc.asyncProperty(
    ...[greeting, verb, conf, spoil, along, ending],
    async (greets, command, stdin, spoiled, how, end) => {
      const client = Client.connect(path)
      const { request, descriptors } = requestOf({
        ...{ type: 'nothing', verb: command, conf: stdin },
        ...{ netns: host.path, from: host.path },
      })
      const sent = chosen(native, how, descriptors, host.path)
      try {
        await client.send(greets)
        let passed: readonly Descriptor[] = sent
        for (const piece of piecesOf(encodeRequest(request), spoiled)) {
          await client.send(piece, passed)
          passed = []
        }
        if (end === 'acknowledge') await client.acknowledge()
        else if (end === 'cancel') await client.cancel()
        else if (end === 'garbage') await client.send(Uint8Array.of(0, 1, 2))
      } catch (error) {
        // It has closed, as it may at any byte that it does not like.
        expect(['EPIPE', 'ECONNRESET']).toContain((error as { code?: string }).code)
      } finally {
        for (const descriptor of [...descriptors, ...sent]) descriptor.close()
        client.close()
        // The daemon is in this process too: without a turn of the loop it would hear of nobody before the last one.
        await setImmediate()
      }
    },
  )
  await fc.assert(one, { numRuns: cases, seed })
  const status = await Client.open(path)
  await status.send(encodeRequest({ kind: 'status' }))
  expect((await status.answer()).status).toBe(0)
  status.close()
  await eventually('everybody has gone', async () => {
    const [running, connected] = [daemon.scheduler.running, await daemon.metrics.read('connections')]
    return running === 0 && connected === 0
  })
  await eventually('nothing of them is open', () => descriptorsOf().length <= before.length)
  expect(memoryUsage().rss).toBeLessThan(1 << 30)
})
