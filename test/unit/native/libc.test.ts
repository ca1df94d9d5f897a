import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { libcOf } from '../../../native/libc.ts'

const folder = mkdtempSync(join(tmpdir(), 'linkwright-libc-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** An executable's head: the ELF header, a program header of no use, one of PT_INTERP, and the path. */
const elf = (path: string, change: (bytes: Buffer) => void = () => {}): string => {
  const text = Buffer.from(`${path}\0`, 'latin1')
  const bytes = Buffer.alloc(64 + 2 * 56)
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1])
  bytes.writeBigUInt64LE(64n, 32)
  bytes.writeUInt16LE(56, 54)
  bytes.writeUInt16LE(2, 56)
  bytes.writeUInt32LE(6, 64)
  bytes.writeUInt32LE(3, 120)
  bytes.writeBigUInt64LE(BigInt(bytes.length), 128)
  bytes.writeBigUInt64LE(BigInt(text.length), 152)
  change(bytes)
  const file = join(folder, 'executable')
  writeFileSync(file, Buffer.concat([bytes, text]))
  return file
}

describe('libcOf', () => {
  test('of this process is what its report says', () => {
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    expect(libcOf()).toBe(header.glibcVersionRuntime ? 'glibc' : 'musl')
  })

  test.each([
    ['/lib64/ld-linux-x86-64.so.2', 'glibc'],
    ['/lib/ld-linux-aarch64.so.1', 'glibc'],
    ['/nix/store/0a-glibc-2.40/lib/ld-linux-x86-64.so.2', 'glibc'],
    ['/lib/ld-musl-x86_64.so.1', 'musl'],
    ['/lib/ld-musl-aarch64.so.1', 'musl'],
    ['/opt/ld-musl-x86_64.so.1/ld-linux-x86-64.so.2', 'glibc'],
  ])('of an executable with the loader %s: %s', (loader, libc) => {
    expect(libcOf(elf(loader))).toBe(libc)
  })

  test.each<[string, (bytes: Buffer) => void]>([
    ['another magic', (bytes) => bytes.writeUInt8(0, 0)],
    ['32 bits', (bytes) => bytes.writeUInt8(1, 4)],
    ['big-endian', (bytes) => bytes.writeUInt8(2, 5)],
    ['program headers of another size', (bytes) => bytes.writeUInt16LE(32, 54)],
    ['no program headers', (bytes) => bytes.writeUInt16LE(0, 56)],
    ['program headers beyond the end', (bytes) => bytes.writeBigUInt64LE(1n << 40n, 32)],
    ['program headers nowhere', (bytes) => bytes.writeBigUInt64LE(1n << 63n, 32)],
    ['no loader', (bytes) => bytes.writeUInt32LE(1, 120)],
    ['a loader nowhere', (bytes) => bytes.writeBigUInt64LE(1n << 63n, 128)],
  ])('of a file with %s: unknown', (_, change) => {
    expect(libcOf(elf('/lib/ld-musl-x86_64.so.1', change))).toBeNull()
  })

  test('of a loader whose length is a lie: what is there is read', () => {
    const lie = (bytes: Buffer) => bytes.writeBigUInt64LE(1n << 62n, 152)
    expect(libcOf(elf('/lib/ld-musl-x86_64.so.1', lie))).toBe('musl')
  })

  test('of no file, an empty one, a folder: unknown', () => {
    expect(libcOf(join(folder, 'none'))).toBeNull()
    const empty = join(folder, 'empty')
    writeFileSync(empty, '')
    expect(libcOf(empty)).toBeNull()
    expect(libcOf(folder)).toBeNull()
  })
})
