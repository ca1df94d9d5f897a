/**
 * The launcher, built with sanitizers, and a daemon that answers by chance. Each case starts a program:
 *
 *   FUZZ_CASES   a thousand times how many, default 1000000
 *   FUZZ_SEED    repeats a run: a failure prints its seed
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeAnswer, encodeWelcome } from '../../daemon/protocol.ts'
import { words } from '../kernel/launcher/fake-daemon.ts'
import { builds, built, Launched } from '../kernel/launcher/launched.ts'

const cases = Math.max(1, Math.round(Number(process.env.FUZZ_CASES ?? 1_000_000) / 1000))
const seed = Number(process.env.FUZZ_SEED ?? Date.now() & 0x7fff_ffff)

/** Some bytes of it are others, and it may end early. */
const spoiled = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 3 }),
      fc.oneof({ weight: 3, arbitrary: fc.constant(bytes.length) }, fc.nat(bytes.length)),
    )
    .map(([changes, length]) => {
      const copy = Uint8Array.from(bytes)
      for (const [at, value] of changes) copy[at] = value
      return copy.subarray(0, length)
    })

const word = fc.oneof(
  fc.nat(40),
  fc.constantFrom(0xffffffff, 0x7fffffff, 0x80000000, (16 << 20) - 1, 16 << 20),
)
const text = fc.string({ maxLength: 60, unit: 'binary' })
const answer = fc.oneof(
  fc
    .record({ status: fc.nat(300), acknowledge: fc.boolean(), stdout: text, stderr: text })
    .chain((whole) => spoiled(encodeAnswer(whole))),
  fc
    .tuple(fc.array(word, { maxLength: 7 }), text)
    .map(([all, rest]) => Buffer.concat([words(...all), Buffer.from(rest)])),
  fc.uint8Array({ maxLength: 64 }),
)
const greeting = fc.oneof({ weight: 9, arbitrary: fc.constant(encodeWelcome(1)) }, spoiled(encodeWelcome(1)))
/** Configurations that end anywhere. */
const input = fc
  .tuple(
    fc.oneof(
      fc.json(),
      fc.array(
        fc.constantFrom('"cniVersion"', ':', '"0.4.0"', '{', '}', '[', ']', ',', '"', '\\', ' ', '\0'),
      ),
      text,
    ),
    fc.nat(200),
  )
  .map(([whole, length]) => (typeof whole === 'string' ? whole : `{${whole.join('')}`).slice(0, length))

test('whatever the daemon answers, the launcher ends as it should', async () => {
  const [, flags, file] = builds.find(([name]) => name === 'sanitized')!
  built(flags)
  const it = new Launched(file)
  copyFileSync('/bin/true', join(it.folder, 'linkwright-cni'))
  const daemon = it.daemon()
  const verb = fc.constantFrom('ADD', 'DEL', 'VERSION')
  const one = fc.asyncProperty(greeting, answer, input, verb, async (greets, answers, stdin, command) => {
    const env = it.env({ CNI_COMMAND: command })
    const running = it.run({ input: stdin, env, until: Promise.resolve() })
    const peer = await daemon.next()
    await peer.bytes(16)
    try {
      peer.send(greets)
      const head = await peer.bytes(4)
      if (head.length === 4) {
        await peer.bytes(head.readUInt32LE())
        peer.send(answers)
      }
    } catch (error) {
      // It has closed, as it may at any byte that it does not like.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
    }
    peer.close()
    const { status, signal, stderr, stdout } = await running
    expect(stderr).not.toMatch(/Sanitizer|runtime error/)
    expect(signal).toBeNull()
    if (command === 'ADD' && status === 1 && stdout.includes('did not answer to the end'))
      expect(JSON.parse(stdout)).toMatchObject({ code: 11 })
  })
  await fc.assert(one, { numRuns: cases, seed })
})
