import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  RateLimit,
  Retransmission,
  type Schedule,
  schedules,
} from '../../../../../ipam/dhcp/v6/retransmission.ts'
import { Scene } from './scene.ts'

/** The most that chance says. */
const ALMOST = 1 - 2 ** -32

const first = (count: number, schedule: Schedule, random: number, isSolicit = false): number[] => {
  const retransmission = new Retransmission(schedule, () => random, isSolicit)
  return Array.from({ length: count }, () => retransmission.next() / 1000)
}

test('the numbers are those of RFC 8415 section 7.6', () => {
  expect(schedules).toEqual({
    SOLICIT: { irt: 1000, mrt: 3_600_000, mrc: 0, mrd: 0 },
    REQUEST: { irt: 1000, mrt: 30_000, mrc: 10, mrd: 0 },
    CONFIRM: { irt: 1000, mrt: 4000, mrc: 0, mrd: 10_000 },
    RENEW: { irt: 10_000, mrt: 600_000, mrc: 0, mrd: 0 },
    REBIND: { irt: 10_000, mrt: 600_000, mrc: 0, mrd: 0 },
    DECLINE: { irt: 1000, mrt: 0, mrc: 4, mrd: 0 },
  })
})

describe('RT (section 15)', () => {
  test.each<[string, keyof typeof schedules, number[]]>([
    ['doubles up to an hour', 'SOLICIT', [1.05, 2.1, 4.2, 8.4, 16.8, 33.6, 67.2, 134.4]],
    ['doubles up to half a minute', 'REQUEST', [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]],
    ['doubles up to four seconds', 'CONFIRM', [1, 2, 4, 4, 4]],
    ['doubles up to ten minutes', 'RENEW', [10, 20, 40, 80, 160, 320, 600, 600]],
    ['doubles without a limit', 'DECLINE', [1, 2, 4, 8]],
  ])('%s: %s', (_, type, times) => {
    const found = first(times.length, schedules[type], 0.5, type === 'SOLICIT')
    expect(found.map((time) => Math.round(time * 1e6) / 1e6)).toEqual(times)
  })

  test('is moved by a tenth at most, the cap too', () => {
    expect(first(7, schedules.REQUEST, 0).map((time) => Number(time.toFixed(4)))).toEqual([
      0.9, 1.71, 3.249, 6.1731, 11.7289, 22.2849, 27,
    ])
    expect(first(6, schedules.REQUEST, ALMOST).map((time) => Number(time.toFixed(4)))).toEqual([
      1.1, 2.31, 4.851, 10.1871, 21.3929, 33,
    ])
  })

  test('of a first SOLICIT is longer than its IRT, whatever chance says', () => {
    for (const random of [0, 0.5, ALMOST]) {
      const [rt] = first(1, schedules.SOLICIT, random, true)
      expect(rt).toBeGreaterThan(1)
      expect(rt).toBeLessThanOrEqual(1.1)
    }
  })

  test('lies in the range that the one before leaves it', () => {
    const random = fc.double({ min: 0, max: ALMOST, noNaN: true })
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(schedules) as (keyof typeof schedules)[])),
        fc.array(random, { minLength: 1, maxLength: 30 }),
        (type, chances) => {
          const { irt, mrt } = schedules[type]
          let turn = 0
          const retransmission = new Retransmission(schedules[type], () => chances[turn]!, type === 'SOLICIT')
          let before = 0
          for (; turn < chances.length; turn++) {
            const rt = retransmission.next()
            const [least, most] = turn === 0 ? [0.9 * irt, 1.1 * irt] : [1.9 * before, 2.1 * before]
            const isCapped = mrt !== 0 && most > mrt
            expect(rt).toBeGreaterThanOrEqual(Math.min(least, isCapped ? 0.9 * mrt : least) - 1e-6)
            expect(rt).toBeLessThanOrEqual((isCapped ? Math.max(1.1 * mrt, mrt) : most) + 1e-6)
            before = rt
          }
          expect(retransmission.count).toBe(chances.length)
        },
      ),
    )
  })

  test('is exhausted after so many transmissions', () => {
    const retransmission = new Retransmission(schedules.DECLINE, () => 0.5)
    const states = Array.from({ length: 4 }, () => {
      retransmission.next()
      return retransmission.isExhausted
    })
    expect(states).toEqual([false, false, false, true])
  })
})

describe('the rate limit (section 14.1)', () => {
  test('is twenty messages, and then one a second', () => {
    const limit = new RateLimit()
    const now = 5000
    for (let i = 0; i < 20; i++) expect(limit.take(now)).toBe(0)
    expect(limit.take(now)).toBe(1000)
    expect(limit.take(now + 400)).toBe(600)
    expect(limit.take(now + 1000)).toBe(0)
    expect(limit.take(now + 1000)).toBe(1000)
  })

  test('holds back what was not said for long', () => {
    const limit = new RateLimit()
    for (let i = 0; i < 20; i++) limit.take(0)
    for (let i = 0; i < 20; i++) expect(limit.take(1_000_000)).toBe(0)
    expect(limit.take(1_000_000)).toBeGreaterThan(0)
  })

  test('keeps a client from following a server that never lets it rest', () => {
    const scene = new Scene()
    scene.onSend = ({ message }) => {
      const always = { ia: { t1: 1, t2: 1 } }
      if (message.type === 'RENEW' || message.type === 'REBIND')
        scene.answer('REPLY', { ia: { iaAddress: [], statusCode: { code: 'NoBinding', message: '' } } })
      else if (message.type === 'REQUEST')
        scene.answer('REPLY', { preferred: 1, valid: 1, ia: { t1: 0, t2: 0 } })
      else if (message.type === 'SOLICIT')
        scene.answer('REPLY', { ...always, options: { rapidCommit: true } })
    }
    scene.client.start()
    scene.time.pass(100_000)
    expect(scene.sent.length).toBeGreaterThan(100)
    expect(scene.sent.length).toBeLessThanOrEqual(121)
  })
})

describe('the elapsed time (section 21.9)', () => {
  const elapsed = (scene: Scene) => scene.sent.map(({ message }) => message.options.elapsedTime)

  test('is 0 at first, and counts hundredths of a second', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(8000)
    expect(elapsed(scene)).toEqual([0, 105, 315, 735])
    expect(new Set(scene.sent.map(({ message }) => message.transactionId)).size).toBe(1)
  })

  test('begins anew with what is said next', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(2000)
    scene.answer('ADVERTISE')
    scene.time.pass(1000)
    expect(elapsed(scene)).toEqual([0, 105, 0, 100])
  })

  test('stops where the option has no more room', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(3_000_000)
    expect(elapsed(scene).at(-1)).toBe(0xffff)
  })
})
