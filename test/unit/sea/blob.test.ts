import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const script = fileURLToPath(new URL('../../../scripts/sea/blob.mjs', import.meta.url))
interface Made {
  readonly blob: Buffer
}
const { agreed, withoutCodeCache } = (await import(script)) as {
  agreed(make: () => Made): Made
  withoutCodeCache(blob: Buffer): Buffer
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
const u64 = (value: number): Buffer => Buffer.concat([u32(value), u32(0)])
const text = (value: string): Buffer => Buffer.concat([u64(value.length), Buffer.from(value)])
const list = (...items: Buffer[]): Buffer => Buffer.concat([u64(items.length), ...items])
const property = (name: string): Buffer => Buffer.concat([text(name), u32(7), u64(8)])

/** Everything before the code cache, as Node 24 writes it. */
const body = Buffer.concat([
  ...[u32(0x143da19), Buffer.of(1), text('24.21.0'), text('x64'), text('linux'), u32(0)],
  ...[u32(5), Buffer.from('heap!')],
  ...[list(u64(1), u64(2)), list(property('template'))],
  ...[u64(1), u64(2), u64(3), u64(4), list(u64(5))],
  ...Array.from({ length: 9 }, (_, i) => u64(i)),
  ...[list(text('fs'), text('path')), list(property('value')), list(), u64(9)],
])

const blob = (snapshot: Buffer, magic = 0x143da20): Buffer =>
  Buffer.concat([
    ...[u32(magic), u32(27), Buffer.of(0), text('/main.js')],
    ...[u64(snapshot.length), snapshot, text('--option'), text('asset')],
  ])

describe('a blob without code cache', () => {
  const cache = list(
    Buffer.concat([text('fs'), text('compiled')]),
    Buffer.concat([text('os'), text('compiled')]),
  )

  test('is the same but for that', () => {
    const made = withoutCodeCache(blob(Buffer.concat([body, cache])))
    expect(made.equals(blob(Buffer.concat([body, list()])))).toBe(true)
    expect(withoutCodeCache(made).equals(made)).toBe(true)
  })

  test('is not made of what is written otherwise', () => {
    expect(() => withoutCodeCache(blob(body, 0x143da21))).toThrow('begins with 143da21')
    expect(() => withoutCodeCache(blob(Buffer.concat([u32(1), body.subarray(4), cache])))).toThrow(
      'the start-up snapshot begins with 1,',
    )
    expect(() => withoutCodeCache(blob(body))).toThrow('the start-up snapshot ends')
    expect(() => withoutCodeCache(blob(Buffer.concat([body, cache, u64(0)])))).toThrow('behind its end')
    expect(() => withoutCodeCache(blob(Buffer.concat([body, cache])).subarray(0, 200))).toThrow(
      'the blob ends',
    )
  })
})

describe('what is made', () => {
  /** Makes one after the other. @returns what was agreed on, and how many were made */
  const agree = (...names: string[]): string => {
    let count = 0
    const { blob } = agreed(() => ({ blob: Buffer.from(names[count++]!) }))
    return `${blob} of ${count}`
  }

  test('is what was made twice', () => {
    expect(agree('a', 'a')).toBe('a of 2')
    expect(agree('a', 'b', 'a')).toBe('a of 3')
    expect(agree('a', 'b', 'b')).toBe('b of 3')
  })

  test('is nothing where all differ', () => {
    expect(() => agree('a', 'b', 'c')).toThrow('no two of three')
  })
})
