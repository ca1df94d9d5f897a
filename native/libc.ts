/** Which C library this process runs on: an addon built for the other one does not load. */
import { closeSync, openSync, readSync } from 'node:fs'

/** The C libraries that addons are prebuilt for. */
export type Libc = 'glibc' | 'musl'

/** Of the ELF header, elf(5): 64 bits, the machine's byte order taken as little-endian. */
const HEADER = 64
const PROGRAM_HEADER = 56
const PT_INTERP = 3
/** More program headers than any executable has, and a longer path than any loader's. */
const MAX_HEADERS = 64
const MAX_PATH = 256

const readAt = (fd: number, position: number, length: number): Buffer => {
  const buffer = Buffer.alloc(length)
  return buffer.subarray(0, readSync(fd, buffer, 0, length, position))
}

const interpreterOf = (fd: number): string | null => {
  const header = readAt(fd, 0, HEADER)
  if (header.length < HEADER || header.readUInt32BE(0) !== 0x7f454c46 || header[4] !== 2 || header[5] !== 1)
    return null
  const start = Number(header.readBigUInt64LE(32))
  const count = Math.min(header.readUInt16LE(56), MAX_HEADERS)
  if (header.readUInt16LE(54) !== PROGRAM_HEADER || !Number.isSafeInteger(start)) return null
  const headers = readAt(fd, start, count * PROGRAM_HEADER)
  for (let at = 0; at + PROGRAM_HEADER <= headers.length; at += PROGRAM_HEADER) {
    if (headers.readUInt32LE(at) !== PT_INTERP) continue
    const place = Number(headers.readBigUInt64LE(at + 8))
    const size = Number(headers.readBigUInt64LE(at + 32))
    if (!Number.isSafeInteger(place)) return null
    return readAt(fd, place, Math.min(size, MAX_PATH)).toString('latin1').split('\0')[0]!
  }
  return null
}

/**
 * Tells it by the loader that the executable names (`PT_INTERP`, elf(5)): three short reads, where `process.report`
 * takes milliseconds.
 * @param executable by default the one of this process, also where its file has been replaced meanwhile
 * @returns null where it is no 64-bit little-endian ELF file, or names no loader
 */
export const libcOf = (executable = '/proc/self/exe'): Libc | null => {
  let fd: number | undefined
  try {
    fd = openSync(executable, 'r')
    const interpreter = interpreterOf(fd)
    if (interpreter === null) return null
    return /(?:^|\/)ld-musl-[^/]*$/.test(interpreter) ? 'musl' : 'glibc'
  } catch {
    // Without /proc it is found by trying.
    return null
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
