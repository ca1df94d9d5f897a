import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const script = fileURLToPath(new URL('../../../scripts/sea/elf.mjs', import.meta.url))
const { inject } = (await import(script)) as { inject(elf: Buffer, blob: Buffer): Buffer }

const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:0'
const BASE = 0x400000

interface Segment {
  readonly type: number
  readonly offset: number
  readonly vaddr: number
  readonly filesz: number
  readonly memsz: number
}

const PT_LOAD = 1
const PT_NOTE = 4
const PT_PHDR = 6

/** An executable of two segments, with `text` in what is loaded and 64 bytes of symbols behind it. */
const executable = (text: string, memory = 0x1000): Buffer => {
  const elf = Buffer.alloc(0x1000 + 64)
  elf.writeUInt32BE(0x7f454c46)
  elf.set([2, 1], 4)
  elf.writeBigUInt64LE(64n, 32)
  elf.writeBigUInt64LE(0x1000n, 40)
  elf.writeUInt16LE(56, 54)
  elf.writeUInt16LE(2, 56)
  elf.writeUInt16LE(1, 60)
  for (const [i, [type, offset, filesz, memsz]] of [
    [PT_PHDR, 64, 112, 112],
    [PT_LOAD, 0, 0x1000, memory],
  ].entries()) {
    const at = 64 + i * 56
    elf.writeUInt32LE(type!, at)
    elf.writeBigUInt64LE(BigInt(offset!), at + 8)
    elf.writeBigUInt64LE(BigInt(BASE + offset!), at + 16)
    elf.writeBigUInt64LE(BigInt(filesz!), at + 32)
    elf.writeBigUInt64LE(BigInt(memsz!), at + 40)
  }
  elf.write(text, 0x200, 'latin1')
  return elf
}

const segmentsOf = (elf: Buffer): Segment[] => {
  const at = Number(elf.readBigUInt64LE(32))
  return Array.from({ length: elf.readUInt16LE(56) }, (_, i) => {
    const word = (position: number): number => Number(elf.readBigUInt64LE(at + i * 56 + position))
    return {
      type: elf.readUInt32LE(at + i * 56),
      offset: word(8),
      vaddr: word(16),
      filesz: word(32),
      memsz: word(40),
    }
  })
}

describe('a note in an executable', () => {
  const blob = Buffer.from('what is to run')

  test('is loaded, is where its segment says, and blows the fuse', () => {
    const made = inject(executable(FUSE), blob)
    const segments = segmentsOf(made)
    expect(segments.map(({ type }) => type)).toEqual([PT_PHDR, PT_LOAD, PT_LOAD, PT_NOTE])
    const [table, , load, note] = segments as [Segment, Segment, Segment, Segment]
    expect(table).toMatchObject({ offset: Number(made.readBigUInt64LE(32)), filesz: 4 * 56 })
    expect(load.offset).toBeLessThanOrEqual(table.offset)
    expect(load.offset + load.filesz).toBe(made.length)
    const bytes = made.subarray(note.offset, note.offset + note.filesz)
    expect([bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.readUInt32LE(8)]).toEqual([
      14,
      blob.length,
      0,
    ])
    expect(bytes.subarray(12).toString()).toBe(`NODE_SEA_BLOB\0\0\0${blob}`)
    expect(made.toString('latin1', 0x200, 0x200 + FUSE.length)).toBe(FUSE.replace(/0$/, '1'))
  })

  test('is as far from the first byte in memory as in the file, for kernels before 5.18', () => {
    for (const { type, offset, vaddr } of segmentsOf(inject(executable(FUSE), blob)))
      expect({ type, distance: vaddr - offset }).toEqual({ type, distance: BASE })
  })

  test('leaves room for what the program has in memory only', () => {
    const memory = 0x123456
    const [, program, load] = segmentsOf(inject(executable(FUSE, memory), blob))
    expect(program!.memsz).toBe(memory)
    expect(load!.vaddr).toBeGreaterThanOrEqual(BASE + memory)
    expect(load!.vaddr % 0x10000).toBe(0)
  })

  test('takes the place of symbols and sections', () => {
    const made = inject(executable(FUSE), blob)
    expect([made.readBigUInt64LE(40), made.readUInt16LE(60), made.readUInt16LE(62)]).toEqual([0n, 0, 0])
  })

  test('has to have a fuse, and one only', () => {
    expect(() => inject(executable('none'), blob)).toThrow('no fuse')
    expect(() => inject(executable(`${FUSE} ${FUSE}`), blob)).toThrow('twice')
  })

  test('goes into nothing but 64-bit little-endian ELF', () => {
    expect(() => inject(Buffer.from('#!/bin/sh\n'.padEnd(64)), blob)).toThrow(
      'not a 64-bit little-endian ELF',
    )
    const wide = executable(FUSE)
    wide[5] = 2
    expect(() => inject(wide, blob)).toThrow('not a 64-bit little-endian ELF')
  })
})
