/** What made an executable, as its sections tell. */
import { closeSync, openSync, readSync } from 'node:fs'

/** Offsets in `Elf64_Ehdr` and `Elf64_Shdr`; elf(5). */
const HEADER = { size: 64, class: 4, data: 5, shoff: 40, shentsize: 58, shnum: 60, shstrndx: 62 } as const
const SECTION = { size: 64, offset: 24, length: 32 } as const
const MAX_NAMES = 1 << 16

const readAt = (fd: number, position: bigint, length: number): Buffer | undefined => {
  const bytes = Buffer.alloc(length)
  return readSync(fd, bytes, 0, length, position) === length ? bytes : undefined
}

/** Names of the sections of a 64-bit little-endian ELF file, or nothing. */
const sectionNames = (fd: number): string => {
  const header = readAt(fd, 0n, HEADER.size)
  if (header?.toString('latin1', 0, 4) !== '\x7fELF') return ''
  if (header[HEADER.class] !== 2 || header[HEADER.data] !== 1) return ''
  if (header.readUInt16LE(HEADER.shentsize) !== SECTION.size) return ''
  const index = header.readUInt16LE(HEADER.shstrndx)
  const table = header.readBigUInt64LE(HEADER.shoff)
  if (table > BigInt(Number.MAX_SAFE_INTEGER)) return ''
  const section = readAt(fd, table + BigInt(index * SECTION.size), SECTION.size)
  if (!section) return ''
  const length = section.readBigUInt64LE(SECTION.length)
  const offset = section.readBigUInt64LE(SECTION.offset)
  if (length > BigInt(MAX_NAMES) || offset > BigInt(Number.MAX_SAFE_INTEGER)) return ''
  return readAt(fd, offset, Number(length))?.toString('latin1') ?? ''
}

/** Whether a file is a program that Go's compiler has made. @throws SystemError where it can't be read */
export const isGoProgram = (path: string): boolean => {
  const fd = openSync(path, 'r')
  try {
    // Left by `strip`, too.
    return sectionNames(fd).includes('.go.buildinfo')
  } finally {
    closeSync(fd)
  }
}
