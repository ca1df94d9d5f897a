import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OwnerIndex } from '../../../ipam/host-local/owner-index.ts'
import { addressBytes, hashOf, SLOT, Slots, WINDOW } from '../../../ipam/host-local/owner-table.ts'
import { drawStamp, hasStamp, stamp } from '../../../ipam/host-local/stamp.ts'
import { scratch, silence } from './harness.ts'

/** A network's directory and its index. */
const setUp = () => {
  const data = scratch()
  const network = join(data, 'net')
  mkdirSync(network)
  const path = join(data, '.linkwright', 'net')
  const open = (): OwnerIndex => new OwnerIndex(network, path, silence, true)
  return { data, network, path, open }
}

const owners = (count: number): Map<string, string[]> =>
  new Map(Array.from({ length: count }, (_, i) => [`cid${i}\r\neth0`, [`10.1.${i >> 8}.${i & 255}`]]))

const build = async (open: () => OwnerIndex, count: number): Promise<void> => {
  const index = open()
  await index.rebuild(owners(count), true)
  index.close()
}

/** What a new look at the index says about an owner. */
const ask = (open: () => OwnerIndex, owner: string): string[] | null => {
  const index = open()
  try {
    return index.get(owner)
  } finally {
    index.close()
  }
}

const first = 'cid0\r\neth0'

describe('the index counts', () => {
  test('after it was written, and after it was kept', async () => {
    const { network, open } = setUp()
    await build(open, 100)
    for (const [owner, names] of owners(100)) expect(ask(open, owner)).toEqual(names)
    expect(ask(open, 'cid0\r\neth1')).toEqual([])
    expect(ask(open, 'cid0')).toEqual([])

    const index = open()
    writeFileSync(join(network, '10.9.9.9'), first)
    index.add(first, '10.9.9.9')
    index.add(first, '2001:db8::1')
    index.remove('cid1\r\neth0', '10.1.0.1')
    index.commit()
    index.close()
    expect(ask(open, first)?.sort()).toEqual(['10.1.0.0', '10.9.9.9', '2001:db8::1'])
    expect(ask(open, 'cid1\r\neth0')).toEqual([])
  })

  test('not where nobody wrote one', () => {
    expect(ask(setUp().open, first)).toBeNull()
  })

  test('not after somebody made a reservation', async () => {
    const { network, open } = setUp()
    await build(open, 20)
    writeFileSync(join(network, '10.9.9.9'), 'go\r\neth0')
    expect(ask(open, first)).toBeNull()
  })

  test('not after somebody removed one', async () => {
    const { network, open } = setUp()
    writeFileSync(join(network, '10.1.0.0'), first)
    await build(open, 20)
    rmSync(join(network, '10.1.0.0'))
    expect(ask(open, first)).toBeNull()
  })

  test('not after its keeper was killed before the end', async () => {
    const { network, open } = setUp()
    await build(open, 20)
    const index = open()
    writeFileSync(join(network, '10.9.9.9'), first)
    index.add(first, '10.9.9.9')
    index.close()
    expect(ask(open, first)).toBeNull()
  })

  test('not after its keeper was killed between the header and the stamp', async () => {
    const { network, open } = setUp()
    await build(open, 20)
    const before = statSync(network)
    const index = open()
    index.touch()
    index.commit()
    index.close()
    expect(ask(open, first)).toEqual(['10.1.0.0'])
    utimesSync(network, before.atime, before.mtime)
    expect(ask(open, first)).toBeNull()
  })

  test('not for a copy of the directories that kept their times', async () => {
    const { data, open } = setUp()
    await build(open, 20)
    const copy = join(scratch(), 'copy')
    execFileSync('cp', ['-a', data, copy])
    expect(statSync(join(copy, 'net')).mtimeMs).toBe(statSync(join(data, 'net')).mtimeMs)
    const restored = new OwnerIndex(join(copy, 'net'), join(copy, '.linkwright', 'net'), silence, true)
    expect(restored.valid).toBe(false)
    restored.close()
  })

  test('not for a directory that was put in its place', async () => {
    const { data, network, open } = setUp()
    await build(open, 20)
    const { mtime } = statSync(network)
    renameSync(network, join(data, 'old'))
    mkdirSync(network)
    utimesSync(network, mtime, mtime)
    expect(ask(open, first)).toBeNull()
  })

  test('not when it is damaged', async () => {
    const { network, path, open } = setUp()
    await build(open, 20)
    const { atime, mtime } = statSync(network)
    for (const content of ['', 'x', Buffer.alloc(64), Buffer.alloc(100_000, 0xff)]) {
      writeFileSync(path, content)
      utimesSync(network, atime, mtime)
      expect(ask(open, first)).toBeNull()
    }
  })

  test('not when it is cut off', async () => {
    const { path, open } = setUp()
    await build(open, 20)
    writeFileSync(path, readFileSync(path).subarray(0, 200))
    expect(ask(open, first)).toBeNull()
  })
})

describe('the index is not written', () => {
  test('for a few reservations, and goes away when few are left', async () => {
    const { data, open } = setUp()
    await build(open, 3)
    expect(readdirSync(data)).toEqual(['net'])
    await build(open, 50)
    expect(readdirSync(join(data, '.linkwright'))).toEqual(['net'])
    await build(open, 3)
    expect(readdirSync(join(data, '.linkwright'))).toEqual([])
  })

  test('where it would leave out something', async () => {
    const { open } = setUp()
    const index = open()
    await index.rebuild(owners(50), false)
    expect(index.valid).toBe(false)
    await index.rebuild(owners(50).set('odd\r\neth0', ['no-address']), true)
    expect(index.valid).toBe(false)
    await index.rebuild(owners(50).set('odd\r\neth0', ['sub/10.0.0.1']), true)
    expect(index.valid).toBe(false)
    // Not the spelling that is given back.
    await index.rebuild(owners(50).set('odd\r\neth0', ['2001:DB8::1']), true)
    expect(index.valid).toBe(false)
    await index.rebuild(owners(50).set('no attachment has such a name', ['no-address']), true)
    expect(index.valid).toBe(true)
    index.close()
  })

  test('where there is no room for it, without an error', async () => {
    const { data, open } = setUp()
    writeFileSync(join(data, '.linkwright'), 'a file')
    await build(open, 50)
    expect(ask(open, first)).toBeNull()
  })
})

test('it is right whatever is added and removed', async () => {
  const { open } = setUp()
  const step = fc.record({
    owner: fc.integer({ min: 0, max: 40 }).map((n) => `o${n}\r\neth0`),
    address: fc.integer({ min: 0, max: 255 }).map((n) => `10.2.0.${n}`),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 400 }), async (steps) => {
      await build(open, 9)
      const model = new Map<string, Set<string>>()
      const index = open()
      for (const { owner, address } of steps) {
        const held = model.get(owner) ?? new Set()
        model.set(owner, held)
        if (held.delete(address)) index.remove(owner, address)
        else {
          held.add(address)
          index.add(owner, address)
        }
        if (!index.valid) break
      }
      // It may give up where it gets too full, but it must not be wrong.
      if (index.valid) {
        index.commit()
        for (const [owner, held] of model) expect(ask(open, owner)?.sort()).toEqual([...held].sort())
      }
      index.close()
    }),
    { numRuns: 50 },
  )
})

test('a table of 60 000 finds every one', async () => {
  const { open } = setUp()
  await build(open, 60_000)
  const index = open()
  for (const [owner, names] of owners(60_000)) if (index.get(owner)?.[0] !== names[0]) throw new Error(owner)
  expect(index.valid).toBe(true)
  index.close()
})

describe('slots', () => {
  test('full ones do not know', () => {
    const slots = new Slots(Buffer.alloc(WINDOW * SLOT))
    const hash = hashOf(first)
    for (let slot = 0; slot < WINDOW; slot++) slots.set(slot, hash, addressBytes('10.0.0.1')!)
    expect(slots.find(hash, 0)).toBeNull()
    expect(slots.findFree(0)).toBe(-1)
    slots.clear(WINDOW - 1)
    expect(slots.findFree(0)).toBe(WINDOW - 1)
    expect(slots.findSlot(hash, '10.0.0.2', 0)).toBe(-1)
  })

  test('a gap does not end a search', () => {
    const slots = new Slots(Buffer.alloc(WINDOW * SLOT))
    const hash = hashOf(first)
    slots.set(0, hash, addressBytes('10.0.0.1')!)
    slots.set(1, hash, addressBytes('10.0.0.2')!)
    slots.clear(0)
    expect(slots.find(hash, 0)).toEqual(['10.0.0.2'])
  })

  test('hashes spread', () => {
    const hashes = new Set(
      Array.from({ length: 60_000 }, (_, i) => JSON.stringify(hashOf(`cid${i}\r\neth0`))),
    )
    expect(hashes.size).toBe(60_000)
  })
})

describe('a stamp', () => {
  test('is recognised, of any second and inode', () => {
    const dir = scratch()
    for (let i = 0; i < 500; i++) {
      const seconds = drawStamp()
      stamp(dir, seconds)
      const stats = statSync(dir)
      expect(hasStamp(stats, seconds)).toBe(true)
      expect(hasStamp(stats, seconds + 1)).toBe(false)
      expect(hasStamp(Object.assign(stats, { ino: stats.ino + 1 }), seconds)).toBe(false)
    }
  })

  test('is none where only whole seconds are kept', () => {
    const dir = scratch()
    let kept = 0
    for (let i = 0; i < 500; i++) {
      const seconds = drawStamp()
      utimesSync(dir, seconds, seconds)
      if (hasStamp(statSync(dir), seconds)) kept++
    }
    expect(kept).toBeLessThan(2)
  })

  test('is earlier than any clock', () => {
    for (let i = 0; i < 100; i++) expect(drawStamp()).toBeLessThan(Date.UTC(2001, 0, 1) / 1000)
  })
})
