/** Any order of arrivals, ends and cancellations, held against what is promised in words. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Verb } from '../../../cni/types.ts'
import { Scheduler } from '../../../daemon/scheduler.ts'

interface Asked {
  readonly number: number
  readonly verb: Verb
  readonly container: string | null
  readonly network: string | null
  readonly controller: AbortController
  state: 'waiting' | 'running' | 'over' | 'aborted' | 'refused'
  finish(): void
  readonly result: Promise<unknown>
  /** What came later, could not have begun before it by the promises, and did. */
  passedBy: number
}

const touches = ({ verb }: Asked): boolean => verb === 'ADD' || verb === 'DEL' || verb === 'CHECK'
const ordinary = ({ verb }: Asked): boolean => verb !== 'DEL' && verb !== 'STATUS'
const sameContainer = (a: Asked, b: Asked): boolean => a.container !== null && a.container === b.container
const sameNetwork = (a: Asked, b: Asked): boolean => a.network !== null && a.network === b.network
/** One of them is a GC, and the other one is not to be beside it. */
const exclude = (a: Asked, b: Asked): boolean =>
  sameNetwork(a, b) &&
  ((a.verb === 'GC' && (touches(b) || b.verb === 'GC')) || (b.verb === 'GC' && touches(a)))

class World {
  readonly scheduler: Scheduler
  readonly all: Asked[] = []
  readonly #places: number
  readonly #ordinary: number
  readonly #queue: number
  #broken: unknown

  constructor(places: number, queue: number) {
    this.scheduler = new Scheduler({ concurrency: places, queue })
    this.#places = places
    this.#ordinary = Math.max(1, places - Math.floor(places / 4))
    this.#queue = queue
  }

  in(state: Asked['state']): Asked[] {
    return this.all.filter((one) => one.state === state)
  }

  /** Whether nothing but places keeps it from beginning. */
  free(one: Asked): boolean {
    const before = this.all.filter(
      (other) => other.state === 'running' || (other.state === 'waiting' && other.number < one.number),
    )
    return !before.some((other) => sameContainer(one, other) || exclude(one, other))
  }

  hasPlace(one: Asked): boolean {
    const running = this.in('running')
    return (
      running.length < this.#places && (!ordinary(one) || running.filter(ordinary).length < this.#ordinary)
    )
  }

  ask(verb: Verb, container: string | null, network: string | null): void {
    const controller = new AbortController()
    let finish = (): void => {}
    const waitingBefore = this.in('waiting').length
    const asked: Asked = {
      number: this.all.length,
      verb,
      container: verb === 'GC' || verb === 'STATUS' ? null : container,
      network,
      controller,
      state: 'waiting',
      finish: () => finish(),
      passedBy: 0,
      result: Promise.resolve(),
    }
    this.all.push(asked)
    const result = this.scheduler
      .run(
        asked.container,
        verb,
        controller.signal,
        () => {
          try {
            this.begins(asked)
          } catch (error) {
            // The scheduler would take it for a failure of the work.
            this.#broken ??= error
          }
          return new Promise<void>((resolve) => {
            finish = resolve
          })
        },
        { network },
      )
      .then(
        () => {
          asked.state = 'over'
        },
        (error: { code: number }) => {
          if (asked.state !== 'waiting') throw new Error('rejected while it ran')
          asked.state = error.code === 11 ? 'refused' : 'aborted'
          if (error.code === 11 && waitingBefore < this.#queue) this.#broken ??= error
        },
      )
    Object.assign(asked, { result })
  }

  begins(one: Asked): void {
    expect(one.state).toBe('waiting')
    expect(this.free(one)).toBe(true)
    expect(this.hasPlace(one)).toBe(true)
    for (const other of this.in('waiting')) {
      if (other.number >= one.number || !this.free(other) || !this.hasPlace(other)) continue
      // It could have begun, and came earlier.
      expect(one.verb).toBe('DEL')
      expect(other.verb).not.toBe('DEL')
    }
    const first = this.in('waiting').find(
      (other) => other.verb !== 'DEL' && this.free(other) && this.hasPlace(other),
    )
    if (first && first !== one && first.number < one.number) {
      first.passedBy++
      expect(first.passedBy).toBeLessThanOrEqual(8)
    }
    one.state = 'running'
  }

  check(): void {
    if (this.#broken) throw this.#broken
    const [running, waiting] = [this.in('running'), this.in('waiting')]
    expect([this.scheduler.running, this.scheduler.queued]).toEqual([running.length, waiting.length])
    expect(waiting.length).toBeLessThanOrEqual(this.#queue)
    for (const one of running)
      for (const other of running)
        if (one !== other) expect(sameContainer(one, other) || exclude(one, other)).toBe(false)
    // Nobody waits who could begin.
    for (const one of waiting) expect(this.free(one) && this.hasPlace(one)).toBe(false)
  }

  async settle(ones: readonly Asked[]): Promise<void> {
    await Promise.all(ones.map(({ result }) => result))
    await Promise.resolve()
  }
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      verb: fc.constantFrom<Verb>('ADD', 'ADD', 'DEL', 'DEL', 'CHECK', 'GC', 'STATUS'),
      container: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
      network: fc.constantFrom('m', 'n', null),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('finish' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat() }) },
)

test('whatever comes: order, places and exclusion hold, nobody waits for nothing, everything ends', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 12 }),
      fc.array(step, { maxLength: 80 }),
      async (places, queue, steps) => {
        const world = new World(places, queue)
        for (const one of steps) {
          if (one.do === 'ask') {
            world.ask(one.verb, one.container, one.network)
            // What was refused is told a moment later.
            if (world.scheduler.queued < world.in('waiting').length) await world.settle(world.all.slice(-1))
          } else {
            const from = world.in(one.do === 'finish' ? 'running' : 'waiting')
            const chosen = from[one.which % Math.max(1, from.length)]
            if (chosen) {
              if (one.do === 'finish') chosen.finish()
              else chosen.controller.abort()
              await world.settle([chosen])
            }
          }
          world.check()
        }
        for (let [next] = world.in('running'); next; [next] = world.in('running')) {
          next.finish()
          await world.settle([next])
          world.check()
        }
        expect(world.in('waiting')).toEqual([])
        await world.scheduler.idle()
      },
    ),
    { numRuns: 500 },
  )
})
