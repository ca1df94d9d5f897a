import { describe, expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import type { Verb } from '../../../cni/types.ts'
import { type Belonging, DEFAULT_CONCURRENCY, DEFAULT_QUEUE, Scheduler } from '../../../daemon/scheduler.ts'

/** An operation whose work ends when the test says so. */
class Controlled {
  readonly name: string
  readonly controller = new AbortController()
  turn = ''
  ended: 'done' | 'failed' | undefined
  error: unknown
  readonly result: Promise<void>
  #finish: () => void = () => {}
  #fail: (error: Error) => void = () => {}

  constructor(
    scheduler: Scheduler,
    name: string,
    verb: Verb,
    container: string | null,
    begun: string[],
    belonging?: Belonging,
  ) {
    this.name = name
    this.result = scheduler
      .run(
        container,
        verb,
        this.controller.signal,
        (turn) => {
          begun.push(name)
          this.turn = turn
          return new Promise<void>((resolve, reject) => {
            this.#finish = resolve
            this.#fail = reject
          })
        },
        belonging,
      )
      .then(
        () => {
          this.ended = 'done'
        },
        (error: unknown) => {
          this.ended = 'failed'
          this.error = error
        },
      )
  }

  async finish(): Promise<void> {
    this.#finish()
    await this.result
  }

  async fail(error: Error): Promise<void> {
    this.#fail(error)
    await this.result
  }
}

const bench = (concurrency?: number, queue?: number) => {
  const scheduler = new Scheduler({ concurrency, queue })
  const begun: string[] = []
  const ask = (
    name: string,
    verb: Verb,
    container: string | null = name,
    belonging: Belonging = {},
  ): Controlled => new Controlled(scheduler, name, verb, container, begun, belonging)
  return { scheduler, begun, ask }
}

describe('one container', () => {
  test('its operations run one after another in order of arrival, whatever they are', async () => {
    const { begun, ask } = bench()
    const all = (['ADD', 'CHECK', 'DEL', 'ADD', 'DEL'] as const).map((verb, i) => ask(`${i}`, verb, 'one'))
    for (const [i, one] of all.entries()) {
      expect(begun).toEqual(['0', '1', '2', '3', '4'].slice(0, i + 1))
      await one.finish()
    }
  })

  test('a failure, and one that gives up while it waits, let the next one begin', async () => {
    const { begun, ask } = bench()
    const [first, second, third] = [ask('a', 'ADD', 'c'), ask('b', 'CHECK', 'c'), ask('d', 'DEL', 'c')]
    second.controller.abort(new Error('enough'))
    await second.result
    await first.fail(new Error('broken'))
    expect(first.error).toEqual(new Error('broken'))
    expect(begun).toEqual(['a', 'd'])
    await third.finish()
  })

  test('others do not wait for it', () => {
    const { begun, ask } = bench()
    ask('a', 'ADD', 'one')
    ask('b', 'DEL', 'one')
    ask('c', 'ADD', 'two')
    expect(begun).toEqual(['a', 'c'])
  })
})

describe('how many', () => {
  test('the defaults', () => {
    expect(new Scheduler()).toMatchObject({ concurrency: DEFAULT_CONCURRENCY, queue: DEFAULT_QUEUE })
    expect(DEFAULT_QUEUE).toBe(1000)
  })

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('a concurrency of %s is none', (value) => {
    expect(() => new Scheduler({ concurrency: value })).toThrow(RangeError)
  })

  test.each([-1, 0.5, Number.NaN])('a queue of %s is none', (value) => {
    expect(() => new Scheduler({ queue: value })).toThrow(RangeError)
  })

  test('no more than the limit run, and they are counted', async () => {
    const { scheduler, begun, ask } = bench(2)
    const all = ['a', 'b', 'c'].map((name) => ask(name, 'ADD'))
    expect(begun).toEqual(['a', 'b'])
    expect([scheduler.running, scheduler.queued]).toEqual([2, 1])
    await all[0]!.finish()
    expect(begun).toEqual(['a', 'b', 'c'])
    expect([scheduler.running, scheduler.queued]).toEqual([2, 0])
  })

  test.each([
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 3],
    [8, 6],
    [32, 24],
  ])('of %i places ADD, CHECK and GC get %i; the others are for DEL and STATUS', (places, ordinary) => {
    const { scheduler, ask } = bench(places)
    const verbs: Verb[] = ['ADD', 'CHECK', 'GC']
    for (let i = 0; i < places + 3; i++)
      ask(`${i}`, verbs[i % 3]!, i % 3 === 2 ? null : `${i}`, { network: `net${i}` })
    expect(scheduler.running).toBe(ordinary)
    for (let i = 0; i < places; i++) ask(`del${i}`, i % 2 ? 'STATUS' : 'DEL', i % 2 ? null : `del${i}`)
    expect(scheduler.running).toBe(places)
  })

  test('beyond the queue it is code 11 at once, and nothing of it is left', async () => {
    const { scheduler, begun, ask } = bench(1, 2)
    const [first] = [ask('a', 'ADD'), ask('b', 'ADD'), ask('c', 'ADD')]
    const late = ask('d', 'DEL')
    await late.result
    expect(late.error).toBeInstanceOf(CniError)
    expect(late.error).toMatchObject({ code: 11, msg: 'too many operations: 1 run and 2 wait' })
    expect((late.error as CniError).details).toMatch('--queue')
    late.controller.abort()
    expect(scheduler.queued).toBe(2)
    await first!.finish()
    expect(begun).toEqual(['a', 'b'])
    ask('e', 'ADD')
    expect(scheduler.queued).toBe(2)
  })

  test('a queue of 0: what can not begin at once is refused', async () => {
    const { begun, ask } = bench(1, 0)
    const first = ask('a', 'ADD')
    const second = ask('b', 'ADD')
    await second.result
    expect(second.error).toMatchObject({ code: 11 })
    await first.finish()
    ask('c', 'ADD')
    expect(begun).toEqual(['a', 'c'])
  })
})

describe('DEL first', () => {
  test('before what came earlier, in order of arrival among themselves', async () => {
    const { begun, ask } = bench(1)
    const first = ask('a', 'ADD')
    for (const [name, verb] of [
      ['b', 'ADD'],
      ['c', 'CHECK'],
      ['s', 'STATUS'],
      ['d', 'DEL'],
      ['e', 'DEL'],
    ] as const)
      ask(name, verb)
    await first.finish()
    expect(begun).toEqual(['a', 'd'])
  })

  test('not before an earlier one of its container', async () => {
    const { begun, ask } = bench(1)
    const first = ask('a', 'ADD')
    const add = ask('b', 'ADD', 'c')
    ask('d', 'DEL', 'c')
    await first.finish()
    expect(begun).toEqual(['a', 'b'])
    await add.finish()
    expect(begun).toEqual(['a', 'b', 'd'])
  })

  test('eight pass, then it is the turn of what they passed', async () => {
    const { begun, ask } = bench(1)
    let current = ask('first', 'ADD')
    const waiting = new Map([['add', ask('add', 'ADD')]])
    for (let i = 0; i < 20; i++) waiting.set(`del${i}`, ask(`del${i}`, 'DEL'))
    const passed: string[] = []
    while (waiting.size > 0) {
      await current.finish()
      const name = begun.at(-1)!
      passed.push(name)
      current = waiting.get(name)!
      waiting.delete(name)
    }
    expect(passed.indexOf('add')).toBe(8)
    expect(passed.filter((name) => name !== 'add')).toEqual(Array.from({ length: 20 }, (_, i) => `del${i}`))
  })
})

describe('GC', () => {
  const net = { network: 'net' }

  test('waits for what runs in its network and keeps out what comes after it', async () => {
    const { begun, ask } = bench()
    const add = ask('add', 'ADD', 'a', net)
    const gc = ask('gc', 'GC', null, net)
    ask('late', 'DEL', 'b', net)
    ask('other', 'ADD', 'c', { network: 'elsewhere' })
    expect(begun).toEqual(['add', 'other'])
    await add.finish()
    expect(begun).toEqual(['add', 'other', 'gc'])
    await gc.finish()
    expect(begun).toEqual(['add', 'other', 'gc', 'late'])
  })

  test('does not pass what came before it and still waits', async () => {
    const { begun, ask } = bench(1)
    const first = ask('first', 'ADD', 'x', { network: 'elsewhere' })
    const second = ask('second', 'ADD', 'a', net)
    ask('gc', 'GC', null, net)
    await first.finish()
    expect(begun).toEqual(['first', 'second'])
    await second.finish()
    expect(begun).toEqual(['first', 'second', 'gc'])
  })

  test.each(['ADD', 'DEL', 'CHECK', 'GC'] as const)('is not beside %s of its network', async (verb) => {
    const { begun, ask } = bench()
    const gc = ask('gc', 'GC', null, net)
    const container = verb === 'GC' ? null : 'a'
    ask('other', verb, container, net)
    expect(begun).toEqual(['gc'])
    await gc.finish()
    expect(begun).toEqual(['gc', 'other'])
  })

  test('is beside STATUS of its network, GC of another one, and what has no network', () => {
    const { begun, ask } = bench()
    ask('gc', 'GC', null, net)
    ask('status', 'STATUS', null, net)
    ask('gc2', 'GC', null, { network: 'elsewhere' })
    ask('nameless', 'GC', null)
    ask('add', 'ADD', 'a')
    expect(begun).toEqual(['gc', 'status', 'gc2', 'nameless', 'add'])
  })

  test('one that gives up lets go what it kept waiting', async () => {
    const { begun, ask } = bench()
    ask('add', 'ADD', 'a', net)
    const gc = ask('gc', 'GC', null, net)
    ask('next', 'ADD', 'b', net)
    gc.controller.abort()
    await gc.result
    expect(begun).toEqual(['add', 'next'])
  })
})

describe('giving up', () => {
  test('before it asks, or while it waits: the work is never begun', async () => {
    const { scheduler, begun, ask } = bench(1)
    const first = ask('a', 'ADD')
    const waiting = ask('b', 'ADD')
    const reason = new CniError({ code: 11, msg: 'the daemon stops' })
    waiting.controller.abort(reason)
    await waiting.result
    expect(waiting.error).toBe(reason)
    expect(scheduler.queued).toBe(0)
    const work = (): never => {
      throw new Error('begun')
    }
    await expect(scheduler.run('c', 'ADD', AbortSignal.abort(), work)).rejects.toMatchObject({
      code: 999,
      msg: expect.stringMatching(/^stopped before it was begun: .*abort/),
    })
    await first.finish()
    expect(begun).toEqual(['a'])
  })

  test('while it runs it is for the work to end', async () => {
    const { scheduler, ask } = bench(1)
    const first = ask('a', 'ADD')
    first.controller.abort()
    expect(first.ended).toBeUndefined()
    expect(scheduler.running).toBe(1)
    await first.finish()
    expect(first.ended).toBe('done')
    expect(scheduler.running).toBe(0)
  })

  test('no listener stays on the signal', async () => {
    const scheduler = new Scheduler({ concurrency: 1, queue: 1 })
    const { signal } = new AbortController()
    const listeners = { count: 0 }
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners.count++
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners.count--
      removeEventListener.apply(signal, args)
    }
    const asked = ['a', 'b', 'c'].map((name) => scheduler.run(name, 'ADD', signal, async () => name))
    expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
    ])
    expect(listeners.count).toBe(0)
  })
})

describe('work', () => {
  test('its value and its errors come back, those thrown at once too', async () => {
    const scheduler = new Scheduler()
    const { signal } = new AbortController()
    expect(await scheduler.run('a', 'ADD', signal, async () => 42)).toBe(42)
    await expect(
      scheduler.run('a', 'ADD', signal, () => {
        throw new Error('at once')
      }),
    ).rejects.toThrow('at once')
    expect(scheduler.running).toBe(0)
  })

  test('called from within a turn it is part of that: at once, though its container and all places are taken', async () => {
    const { scheduler, begun, ask } = bench(1, 0)
    const outer = ask('outer', 'ADD', 'c')
    const inner = ask('inner', 'ADD', 'c', { within: outer.turn })
    expect(begun).toEqual(['outer', 'inner'])
    expect(inner.turn).toBe(outer.turn)
    expect(scheduler.running).toBe(1)
    await inner.finish()
    expect(scheduler.running).toBe(1)
    const late = new AbortController()
    late.abort(new Error('gone'))
    await expect(
      scheduler.run('c', 'ADD', late.signal, async () => 0, { within: outer.turn }),
    ).rejects.toThrow('stopped before it was begun: gone')
    await outer.finish()
    const after = ask('after', 'ADD', 'c', { within: outer.turn })
    const next = ask('next', 'ADD', 'c', { within: outer.turn })
    expect(after.turn).not.toBe(outer.turn)
    await next.result
    expect(next.error).toMatchObject({ code: 11 })
  })

  test('a turn gives no right to another container, nor to another network', async () => {
    const { scheduler, begun, ask } = bench(4, 10)
    const mine = ask('mine', 'ADD', 'a', { network: 'x' })
    const theirs = ask('theirs', 'ADD', 'b', { network: 'y' })
    const del = ask('del', 'DEL', 'b', { network: 'y', within: mine.turn })
    const gc = ask('gc', 'GC', null, { network: 'y', within: mine.turn })
    const own = ask('own', 'GC', null, { network: 'x', within: mine.turn })
    expect(begun).toEqual(['mine', 'theirs', 'own'])
    await own.finish()
    await theirs.finish()
    expect(begun.slice(3)).toEqual(['del'])
    await del.finish()
    expect(begun.slice(4)).toEqual(['gc'])
    await gc.finish()
    await mine.finish()
    await scheduler.idle()
  })

  test('turns have names that differ and that another scheduler does not know', () => {
    const [one, two] = [bench(), bench()]
    const turns = [one.ask('a', 'ADD'), one.ask('b', 'ADD'), two.ask('a', 'ADD')].map(({ turn }) => turn)
    expect(new Set(turns).size).toBe(3)
    for (const turn of turns) expect(turn).toMatch(/^[0-9a-f]{16}-\d+$/)
  })

  test('idle: when nothing runs and nothing waits', async () => {
    const { scheduler, ask } = bench(1)
    await scheduler.idle()
    const [first, second] = [ask('a', 'ADD'), ask('b', 'ADD')]
    let idle = false
    const waits = [scheduler.idle(), scheduler.idle()]
    void waits[0]!.then(() => {
      idle = true
    })
    await first!.finish()
    expect(idle).toBe(false)
    await second!.finish()
    await Promise.all(waits)
    const third = ask('c', 'ADD')
    const fourth = ask('d', 'ADD')
    await third.finish()
    await fourth.finish()
    await scheduler.idle()
  })
})
