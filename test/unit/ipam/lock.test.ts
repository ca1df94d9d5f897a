import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { type Flock, LockTable } from '../../../ipam/lock.ts'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { failure, scratch } from './harness.ts'

const LOCK_EX = 2

/** The addon, and how many threads of it wait. */
const counted = () => {
  const state = { waiting: 0, most: 0, started: 0 }
  const flock: Flock = {
    open: (path, flags, mode) => binding().open(path, flags, mode),
    tryFlock: (descriptor, operation) => binding().tryFlock(descriptor, operation),
    countLinks: (descriptor) => binding().countLinks(descriptor),
    flock: async (descriptor, operation) => {
      state.started++
      state.waiting++
      state.most = Math.max(state.most, state.waiting)
      try {
        await binding().flock(descriptor, operation)
      } finally {
        state.waiting--
      }
    },
  }
  return { state, flock: () => flock }
}

/** Another process's lock: to flock(2), another open file is another owner. */
const occupy = (path: string): Descriptor => {
  const descriptor = binding().open(path, 0o100, 0o750)
  expect(binding().tryFlock(descriptor, LOCK_EX)).toBe(true)
  return descriptor
}

const create = { create: true }

/** Until something is so, a turn of the event loop at a time. */
const until = async (holds: () => boolean): Promise<void> => {
  const end = Date.now() + 5000
  while (!holds()) {
    if (Date.now() > end) throw new Error('it did not come about')
    await turn()
  }
}

describe('a lock', () => {
  test('is the file that the Go plugin locks', async () => {
    const path = join(scratch(), 'lock')
    const locks = new LockTable(1000)
    await locks.hold(path, create, () => {
      const other = binding().open(path, 0, 0)
      expect(binding().tryFlock(other, LOCK_EX)).toBe(false)
      other.close()
    })
    occupy(path).close()
  })

  test('is given in the order in which it was asked for, to one at a time', async () => {
    const path = join(scratch(), 'lock')
    const locks = new LockTable(5000)
    const order: number[] = []
    let inside = 0
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        locks.hold(path, create, async () => {
          expect(++inside).toBe(1)
          await turn()
          order.push(i)
          inside--
        }),
      ),
    )
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i))
  })

  test('of another path is another lock', async () => {
    const dir = scratch()
    const locks = new LockTable(5000)
    await locks.hold(join(dir, 'a'), create, () => locks.hold(join(dir, 'b'), create, () => {}))
  })

  test('is let go when the work fails', async () => {
    const path = join(scratch(), 'lock')
    const locks = new LockTable(1000)
    await expect(
      locks.hold(path, create, () => {
        throw new Error('work')
      }),
    ).rejects.toThrow('work')
    expect(await locks.hold(path, create, () => 'got it')).toBe('got it')
  })

  test('is waited for in one thread, however many want it', async () => {
    const path = join(scratch(), 'lock')
    const { state, flock } = counted()
    const locks = new LockTable(5000, flock)
    const other = occupy(path)
    const all = Promise.all(Array.from({ length: 20 }, (_, i) => locks.hold(path, create, () => i)))
    await until(() => state.waiting === 1)
    other.close()
    expect(await all).toEqual(Array.from({ length: 20 }, (_, i) => i))
    expect(state.most).toBe(1)
  })
})

describe('who waits too long', () => {
  test('is told to try again later, and leaves no further thread behind', async () => {
    const path = join(scratch(), 'lock')
    const { state, flock } = counted()
    const locks = new LockTable(30, flock)
    const other = occupy(path)
    for (let i = 0; i < 3; i++) {
      const errors = await Promise.all([1, 2].map(() => failure(locks.hold(path, create, () => {}))))
      for (const { code, msg } of errors) {
        expect(code).toBe(11)
        expect(msg).toContain(path)
      }
    }
    expect(state).toEqual({ waiting: 1, most: 1, started: 1 })
    other.close()
    // Nobody wants it any more: it is let go as soon as it comes.
    await until(() => state.waiting === 0)
    await turn()
    occupy(path).close()
  })

  test('hands the waiting thread to whoever comes next', async () => {
    const path = join(scratch(), 'lock')
    const { state, flock } = counted()
    const locks = new LockTable(50, flock)
    const other = occupy(path)
    await failure(locks.hold(path, create, () => {}))
    const next = locks.hold(path, create, () => 'got it')
    other.close()
    expect(await next).toBe('got it')
    expect(state.started).toBe(1)
    occupy(path).close()
  })

  test('gives way in the queue to those behind', async () => {
    const path = join(scratch(), 'lock')
    const locks = new LockTable(100)
    let done: () => void = () => {}
    const first = locks.hold(path, create, () => new Promise<void>((resolve) => (done = resolve)))
    const second = failure(locks.hold(path, create, () => {}))
    expect((await second).code).toBe(11)
    const third = locks.hold(path, create, () => 'third')
    done()
    await first
    expect(await third).toBe('third')
  })
})

describe('who gives up', () => {
  test('does not begin', async () => {
    const path = join(scratch(), 'lock')
    const reason = new CniError({ code: 999, msg: 'the runtime went away' })
    const signal = AbortSignal.abort(reason)
    expect(await failure(new LockTable(1000).hold(path, { create: true, signal }, () => {}))).toBe(reason)
    expect(existsSync(path)).toBe(false)
  })

  test('stops waiting at once', async () => {
    const path = join(scratch(), 'lock')
    const other = occupy(path)
    const controller = new AbortController()
    const locks = new LockTable(60_000)
    const head = failure(locks.hold(path, { create: true, signal: controller.signal }, () => {}))
    const queued = failure(locks.hold(path, { create: true, signal: controller.signal }, () => {}))
    controller.abort(new Error('enough'))
    expect((await head).msg).toBe('stopped before it was done: enough')
    expect((await queued).msg).toBe('stopped before it was done: enough')
    other.close()
    expect(await locks.hold(path, create, () => 'free')).toBe('free')
  })
})

describe('a lock file', () => {
  test('that is missing is made only where asked for', async () => {
    const dir = scratch()
    const locks = new LockTable(1000)
    await expect(locks.hold(join(dir, 'lock'), { create: false }, () => {})).rejects.toMatchObject({
      code: 'ENOENT',
    })
    await expect(locks.hold(join(dir, 'no', 'lock'), create, () => {})).rejects.toMatchObject({
      code: 'ENOENT',
    })
  })

  test('that was removed while it was waited for is made anew', async () => {
    const dir = join(scratch(), 'net')
    mkdirSync(dir)
    const path = join(dir, 'lock')
    const { state, flock } = counted()
    const locks = new LockTable(5000, flock)
    const other = occupy(path)
    const waiting = locks.hold(path, create, () => {
      const second = binding().open(path, 0, 0)
      const taken = !binding().tryFlock(second, LOCK_EX)
      second.close()
      return taken
    })
    await until(() => state.waiting === 1)
    rmSync(path)
    other.close()
    expect(await waiting).toBe(true)
  })

  test('that can not be opened is an I/O error', async () => {
    const dir = scratch()
    mkdirSync(join(dir, 'lock'))
    const error = await failure(new LockTable(1000).hold(join(dir, 'lock'), create, () => {}))
    expect(error.code).toBe(5)
    expect(error.msg).toBe(`open ${join(dir, 'lock')}: is a directory`)
  })
})
