import { describe, expect, test } from 'vitest'
import { inquire } from '../../../../ipam/dhcp/inquiry.ts'
import type { PacketSocket } from '../../../../ipam/dhcp/socket.ts'
import { FakeTime } from './v4/fake-time.ts'

/** An inquiry whose link is the test. */
const scene = (fails: { open?: Error; ask?: Error } = {}) => {
  const time = new FakeTime()
  const controller = new AbortController()
  const seen = { asked: 0, open: 0, closed: 0 }
  let answer = () => {}
  const begin = () =>
    inquire({
      time,
      signal: controller.signal,
      open: (take) => {
        if (fails.open) throw fails.open
        answer = take
        seen.open++
        return { close: () => seen.closed++ } as unknown as PacketSocket
      },
      ask: () => {
        seen.asked++
        if (fails.ask && seen.asked === 2) throw fails.ask
      },
    })
  return { time, controller, seen, begin, answer: () => answer() }
}

const over = { open: 1, closed: 1 }

describe('an inquiry', () => {
  test('asks twice, and waits as long for the answer to each', async () => {
    const { time, seen, begin } = scene()
    const asked = begin()
    expect(seen.asked).toBe(1)
    time.pass(99)
    expect(seen.asked).toBe(1)
    time.pass(1)
    expect(seen.asked).toBe(2)
    time.pass(99)
    expect(seen.closed).toBe(0)
    time.pass(1)
    expect(await asked).toBe(false)
    expect(seen).toEqual({ ...over, asked: 2 })
    expect(time.timers).toBe(0)
  })

  test.each([0, 150])('is over with an answer, after %s ms', async (after) => {
    const { time, seen, begin, answer } = scene()
    const asked = begin()
    time.pass(after)
    answer()
    expect(await asked).toBe(true)
    expect(seen).toMatchObject(over)
    expect(time.timers).toBe(0)
    time.pass(1000)
    expect(seen.asked).toBe(after === 0 ? 1 : 2)
  })

  test('is over when nobody wants to know any more', async () => {
    const { time, seen, begin, controller } = scene()
    const asked = begin()
    controller.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    expect(seen).toMatchObject(over)
    expect(time.timers).toBe(0)
  })

  test('does not begin where nobody wants to know', async () => {
    const { seen, begin, controller } = scene()
    controller.abort(new Error('enough'))
    await expect(begin()).rejects.toThrow('enough')
    expect(seen).toEqual({ asked: 0, open: 0, closed: 0 })
  })

  test('that can not be opened fails', async () => {
    const { time, begin } = scene({ open: new Error('no socket') })
    await expect(begin()).rejects.toThrow('no socket')
    expect(time.timers).toBe(0)
  })

  test('that can not be asked fails', async () => {
    const { time, seen, begin } = scene({ ask: new Error('down') })
    const asked = begin()
    time.pass(100)
    await expect(asked).rejects.toThrow('down')
    expect(seen).toEqual({ ...over, asked: 2 })
    expect(time.timers).toBe(0)
  })

  test('an answer that comes too late changes nothing', async () => {
    const { time, begin, answer, controller } = scene()
    const asked = begin()
    time.pass(200)
    answer()
    controller.abort(new Error('enough'))
    expect(await asked).toBe(false)
  })
})
