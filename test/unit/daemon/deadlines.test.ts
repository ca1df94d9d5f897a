import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Deadlines } from '../../../daemon/deadlines.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

test('each is told when its time is over, and once', () => {
  const deadlines = new Deadlines(100)
  const told: string[] = []
  deadlines.begin(() => told.push('first'))
  vi.advanceTimersByTime(60)
  deadlines.begin(() => told.push('second'))
  vi.advanceTimersByTime(39)
  expect(told).toEqual([])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['first'])
  vi.advanceTimersByTime(59)
  expect(told).toEqual(['first'])
  vi.advanceTimersByTime(1)
  expect(told).toEqual(['first', 'second'])
  vi.advanceTimersByTime(1000)
  expect(told).toHaveLength(2)
})

test('who has cancelled is not told, and those behind it are in time', () => {
  const deadlines = new Deadlines(100)
  const told: string[] = []
  const first = deadlines.begin(() => told.push('first'))
  vi.advanceTimersByTime(50)
  deadlines.begin(() => told.push('second'))
  deadlines.cancel(first)
  deadlines.cancel(first)
  vi.advanceTimersByTime(100)
  expect(told).toEqual(['second'])
})

test('all have one timer, which is gone when nobody waits', () => {
  const deadlines = new Deadlines(100)
  for (let i = 0; i < 50; i++) deadlines.cancel(deadlines.begin(() => {}))
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(100)
  expect(vi.getTimerCount()).toBe(0)
})

test('one that is told may begin another', () => {
  const deadlines = new Deadlines(100)
  const told: string[] = []
  deadlines.begin(() => {
    told.push('first')
    deadlines.begin(() => told.push('second'))
  })
  vi.advanceTimersByTime(200)
  expect(told).toEqual(['first', 'second'])
})
