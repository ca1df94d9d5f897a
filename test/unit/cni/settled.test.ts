import { describe, expect, test, vi } from 'vitest'
import { readConf } from '../../../cni/attachment.ts'
import { parseStdin } from '../../../cni/serve.ts'
import { freeze, isSettled, Remembered, settledConf } from '../../../cni/settled.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { fakePlugin } from './fake.ts'

let count = 0
/** A network's configuration that no other test has. */
const text = (keys: JsonObject = {}): string =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name: `n${++count}`,
    type: 'bridge',
    ipam: { routes: [{}] },
    ...keys,
  })

describe('a configuration that comes again', () => {
  test('is the same object, which nobody can change', () => {
    const parse = vi.fn(parseStdin)
    const own = text()
    const first = settledConf(own, parse)
    expect(settledConf(`${own}`, parse)).toBe(first)
    expect(parse).toHaveBeenCalledTimes(1)
    expect(isSettled(first)).toBe(true)
    expect(() => Object.assign(first.ipam as object, { type: 'x' })).toThrow(TypeError)
    expect(first).toEqual(JSON.parse(own))
  })

  test('is another one where a byte differs', () => {
    const own = text()
    expect(settledConf(own, parseStdin)).not.toBe(settledConf(`${own} `, parseStdin))
  })

  test.each(['prevResult', 'runtimeConfig', 'args', 'PREVRESULT'])(
    'with %s it belongs to one container, and is not kept',
    (key) => {
      const own = text({ [key]: {} })
      const first = settledConf(own, parseStdin)
      expect(isSettled(first)).toBe(false)
      expect(settledConf(own, parseStdin)).not.toBe(first)
      expect(() => Object.assign(first, { type: 'x' })).not.toThrow()
    },
  )

  test('of many kilobytes it is not kept', () => {
    const own = text({ note: 'x'.repeat(16_384) })
    expect(settledConf(own, parseStdin)).not.toBe(settledConf(own, parseStdin))
  })

  test('what is none is refused each time', () => {
    for (let i = 0; i < 2; i++)
      expect(() => settledConf('[]', parseStdin)).toThrow('expected object, got array')
  })

  test('thousands of brackets are frozen, too', () => {
    const deep = `{"a":${'['.repeat(8_000)}${']'.repeat(8_000)}}`
    expect(isSettled(settledConf(deep, parseStdin))).toBe(true)
  })
})

test('only the last are remembered', () => {
  const some = new Remembered<number>()
  for (let i = 0; i < 65; i++) some.set(String(i), i)
  expect([some.get('0'), some.get('64')]).toEqual([undefined, 64])
})

describe('what a plugin makes of a configuration', () => {
  const plugin = fakePlugin()
  const conf = { name: 'net', type: 'fake' }

  test('is remembered, and not pushed out by what belongs to one container each', () => {
    const first = readConf(plugin, { ...conf })
    for (let i = 0; i < 100; i++)
      readConf(plugin, { ...conf, prevResult: { ips: [{ address: `10.0.0.${i}/8` }] } })
    expect(readConf(plugin, { ...conf })).toBe(first)
  })

  test.each([
    ['with a result', { prevResult: { ips: [] } }],
    ['of many kilobytes', { note: 'x'.repeat(16_384) }],
  ])('is not remembered %s', (_, more) => {
    const first = readConf(plugin, { ...conf, ...more })
    expect(readConf(plugin, { ...conf, ...more })).toEqual(first)
    expect(readConf(plugin, { ...conf, ...more })).not.toBe(first)
  })
})

test('what is frozen is the value itself', () => {
  const value = { list: [{ deep: null }] }
  expect(freeze(value)).toBe(value)
  expect(Object.isFrozen(value.list[0])).toBe(true)
})
