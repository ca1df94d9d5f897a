/** Who waits for whom, and who came first, held against slow ways to find out. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Arrival, Arrivals } from '../../../daemon/arrivals.ts'
import { type Group, Lines, type Waiter } from '../../../daemon/lines.ts'

describe('arrivals', () => {
  test('the first is the one that came first, whoever is added and deleted', () => {
    const step = fc.tuple(fc.boolean(), fc.nat(40))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const arrivals = new Arrivals<Arrival>()
        const all = Array.from({ length: 41 }, (_, number): Arrival => ({ number, place: -1 }))
        const there = new Set<Arrival>()
        for (const [adds, which] of steps) {
          const one = all[which]!
          if (!adds) {
            arrivals.delete(one)
            there.delete(one)
          } else if (!there.has(one)) {
            arrivals.add(one)
            there.add(one)
          }
          expect(arrivals.first).toBe(all.find((other) => there.has(other)))
        }
      }),
    )
  })

  test('looks at few of many', () => {
    let looked = 0
    const arrivals = new Arrivals<Arrival>()
    const count = 4096
    const all = Array.from({ length: count }, (_, i) => ({
      place: -1,
      get number() {
        looked++
        return (i * 2654435761) % count
      },
    }))
    for (const one of all) arrivals.add(one)
    for (let { first } = arrivals; first; first = arrivals.first) arrivals.delete(first)
    expect(looked / count).toBeLessThan(12 * 8)
  })
})

interface Standing extends Waiter {
  readonly shares: boolean
  readonly line: string
  isClear: boolean
  group?: Group<Standing>
}

describe('lines', () => {
  test('who is alone waits for all before, who shares for those who are alone', () => {
    const step = fc.oneof(
      fc.record({ shares: fc.boolean(), line: fc.constantFrom('a', 'b') }),
      fc.record({ leaves: fc.nat() }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const lines = new Lines<Standing>((one) => {
          expect(one.isClear).toBe(false)
          one.isClear = true
        })
        let standing: Standing[] = []
        for (const one of steps) {
          if ('leaves' in one) {
            const who = standing[one.leaves % Math.max(1, standing.length)]
            if (!who) continue
            standing = standing.filter((other) => other !== who)
            who.group!.lines.leave(who.group!, who)
          } else {
            const who: Standing = { ...one, blocked: 0, isClear: false }
            who.group = lines.enter(who.line, who, who.shares)
            who.isClear = who.blocked === 0
            standing.push(who)
          }
          for (const [i, who] of standing.entries()) {
            const before = standing.slice(0, i).filter(({ line }) => line === who.line)
            expect(who.isClear).toBe(!before.some(({ shares }) => !(shares && who.shares)))
          }
        }
      }),
    )
  })

  test('a step does not depend on how many wait', () => {
    let looked = 0
    const lines = new Lines<Waiter>(() => {})
    const all = Array.from({ length: 2000 }, () => {
      let blocked = 0
      return {
        get blocked() {
          looked++
          return blocked
        },
        set blocked(value: number) {
          blocked = value
        },
      }
    })
    const groups = all.map((one) => lines.enter('a', one, false))
    for (const [i, group] of groups.entries()) lines.leave(group, all[i]!)
    expect(looked / all.length).toBeLessThan(4)
  })
})
