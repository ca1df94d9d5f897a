import { describe, expect, it } from 'vitest'
import { inNode } from './in-node.ts'

const mapped = `
/** Of the executable's mappings that are not written to: kilobytes that are mapped, and that are in no file. */
const mapped = () => {
  const sums = { rss: 0, anonymous: 0 }
  let counts = false
  for (const line of readFileSync('/proc/self/smaps', 'latin1').split('\\n')) {
    const header = /^[0-9a-f]+-[0-9a-f]+ (....) \\S+ \\S+ \\S+ +(\\/.*)/.exec(line)
    if (/^[0-9a-f]+-/.test(line)) counts = header !== null && header[1][1] === '-' && header[2] === process.execPath
    const field = counts && /^(Rss|Anonymous): +(\\d+)/.exec(line)
    if (field) sums[field[1].toLowerCase()] += Number(field[2])
  }
  return sums
}`

/** What `expression` gives in a Node of its own. */
const valueInNode = (expression: string): unknown => inNode(`${mapped}\ntell(${expression})`)

interface Measured {
  readonly before: { readonly rss: number; readonly anonymous: number }
  readonly after: { readonly rss: number; readonly anonymous: number }
  readonly released: number
}

const measure =
  '(() => { const before = mapped(); const released = native.releaseExecutable(); return { before, released, after: mapped() } })()'

describe('releaseExecutable', () => {
  it('lets go of what is mapped of the executable, and the process goes on', () => {
    const { before, after, released } = valueInNode(measure) as Measured
    expect(before.rss).toBeGreaterThan(0)
    // A few of its pages are back already: the process is running.
    expect(after.rss).toBeLessThan(before.rss)
    expect(released / 1024).toBeGreaterThan(before.rss / 2)
  })

  it('can be repeated', () => {
    expect(valueInNode('[1, 2, 3].map(() => native.releaseExecutable()).every((bytes) => bytes > 0)')).toBe(
      true,
    )
  })

  it('keeps pages that are no longer what the file has, such as those with breakpoints', () => {
    const { before, after, released } = valueInNode(`(() => {
      const { openSync, readSync, writeSync } = require('node:fs')
      const [, start] = /^([0-9a-f]+)-[0-9a-f]+ r-xp \\S+ \\S+ \\S+ +\\/.*$/m.exec(readFileSync('/proc/self/maps', 'latin1'))
      const memory = openSync('/proc/self/mem', 'r+')
      const byte = Buffer.alloc(1)
      readSync(memory, byte, 0, 1, parseInt(start, 16))
      // The same again: the page is the process's own all the same.
      writeSync(memory, byte, 0, 1, parseInt(start, 16))
      return ${measure}
    })()`) as Measured
    expect(before.anonymous).toBeGreaterThan(0)
    expect(after.anonymous).toBe(before.anonymous)
    expect(released).toBeGreaterThan(0)
  })

  it('is about the executable alone: what the program has made is there', () => {
    expect(
      valueInNode(`(() => {
        const made = Array.from({ length: 100_000 }, (_, i) => String(i))
        native.releaseExecutable()
        return made.reduce((sum, text) => sum + Number(text), 0)
      })()`),
    ).toBe(4_999_950_000)
  })
})
