import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Thrift } from '../../../daemon/thrift.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

const thrifty = () => {
  const give = vi.fn()
  const thrift = new Thrift(give, { quiet: 1000, rush: 3 })
  return { give, work: (count: number) => Array.from({ length: count }, () => thrift.operation()), thrift }
}

test('memory is given back when a rush is over, once', () => {
  const { give, work } = thrifty()
  work(3)
  vi.advanceTimersByTime(999)
  work(1)
  vi.advanceTimersByTime(999)
  expect(give).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(give).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(10_000)
  expect(give).toHaveBeenCalledTimes(1)
})

test('a few operations are no rush, and those of two rushes are not added up', () => {
  const { give, work } = thrifty()
  work(2)
  vi.advanceTimersByTime(10_000)
  expect(give).not.toHaveBeenCalled()
  work(1)
  vi.advanceTimersByTime(1000)
  expect(give).toHaveBeenCalledTimes(1)
  work(2)
  vi.advanceTimersByTime(10_000)
  expect(give).toHaveBeenCalledTimes(1)
})

test('nothing is given back after the end', () => {
  const { give, work, thrift } = thrifty()
  work(3)
  thrift.close()
  vi.advanceTimersByTime(10_000)
  expect(give).not.toHaveBeenCalled()
  expect(vi.getTimerCount()).toBe(0)
})
