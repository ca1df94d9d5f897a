/** Positions in 64-bit little-endian ELF files: `Elf64_Ehdr` and `Elf64_Phdr` of <elf.h>. */
const header = { class: 4, data: 5, phoff: 32, shoff: 40, phentsize: 54, phnum: 56, shnum: 60, shstrndx: 62 }
const segment = { type: 0, flags: 4, offset: 8, vaddr: 16, paddr: 24, filesz: 32, memsz: 40, align: 48 }
const SEGMENT_SIZE = 56
const PT_LOAD = 1
const PT_NOTE = 4
const PT_PHDR = 6
const PF_R = 4
/** The largest page of any processor that we build for: arm64 may have 64 KiB. */
const PAGE = 0x10000

/** By which Node knows that it is a single executable, and finds what it is to run. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:'
const NOTE = Buffer.from('NODE_SEA_BLOB\0')

const up = (value, step) => Math.ceil(value / step) * step

const segmentsOf = (elf) => {
  const at = Number(elf.readBigUInt64LE(header.phoff))
  const count = elf.readUInt16LE(header.phnum)
  return Array.from({ length: count }, (_, i) => {
    const bytes = Buffer.from(elf.subarray(at + i * SEGMENT_SIZE, at + (i + 1) * SEGMENT_SIZE))
    const number = (position) => Number(bytes.readBigUInt64LE(position))
    return {
      bytes,
      type: bytes.readUInt32LE(segment.type),
      offset: number(segment.offset),
      vaddr: number(segment.vaddr),
      filesz: number(segment.filesz),
      memsz: number(segment.memsz),
    }
  })
}

const encodeSegment = ({ type, offset, vaddr, size, align }) => {
  const bytes = Buffer.alloc(SEGMENT_SIZE)
  bytes.writeUInt32LE(type, segment.type)
  bytes.writeUInt32LE(PF_R, segment.flags)
  for (const [position, value] of [
    [segment.offset, offset],
    [segment.vaddr, vaddr],
    [segment.paddr, vaddr],
    [segment.filesz, size],
    [segment.memsz, size],
    [segment.align, align],
  ])
    bytes.writeBigUInt64LE(BigInt(value), position)
  return bytes
}

const encodeNote = (blob) => {
  const head = Buffer.alloc(12)
  head.writeUInt32LE(NOTE.length, 0)
  head.writeUInt32LE(blob.length, 4)
  return Buffer.concat([head, NOTE, Buffer.alloc(up(NOTE.length, 4) - NOTE.length), blob])
}

/**
 * Node with something to run in it: a note in a new segment, and the fuse blown. What is not loaded (symbols, section
 * headers: 18 MB) is left out.
 *
 * The new table of segments goes to the end too, and is mapped as far behind the file's first byte as it is in the
 * file: kernels before 5.18 tell a program where its segments are described (AT_PHDR) by that distance.
 * @param elf an executable of Node @param blob what `node --experimental-sea-config` has made
 */
export const inject = (elf, blob) => {
  if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[header.class] !== 2 || elf[header.data] !== 1)
    throw new Error('not a 64-bit little-endian ELF file')
  if (elf.readUInt16LE(header.phentsize) !== SEGMENT_SIZE) throw new Error('segments of an unknown size')
  const segments = segmentsOf(elf)
  const loaded = segments.filter(({ type }) => type === PT_LOAD)
  const base = loaded[0].vaddr - loaded[0].offset
  const fileEnd = Math.max(...loaded.map(({ offset, filesz }) => offset + filesz))
  const memoryEnd = Math.max(...loaded.map(({ vaddr, memsz }) => vaddr + memsz))
  const start = up(Math.max(fileEnd, memoryEnd - base), PAGE)

  const count = segments.length + 2
  const note = encodeNote(blob)
  const noteAt = start + up(count * SEGMENT_SIZE, 16)
  const end = noteAt + note.length
  const at = (type, offset, size, align) => encodeSegment({ type, offset, vaddr: base + offset, size, align })
  const table = segments.map(({ type, bytes }) =>
    type === PT_PHDR ? at(PT_PHDR, start, count * SEGMENT_SIZE, 8) : bytes,
  )
  table.push(at(PT_LOAD, start, end - start, PAGE), at(PT_NOTE, noteAt, note.length, 4))

  const made = Buffer.alloc(end)
  elf.copy(made, 0, 0, fileEnd)
  Buffer.concat(table).copy(made, start)
  note.copy(made, noteAt)
  made.writeBigUInt64LE(BigInt(start), header.phoff)
  made.writeUInt16LE(count, header.phnum)
  made.writeBigUInt64LE(0n, header.shoff)
  made.writeUInt16LE(0, header.shnum)
  made.writeUInt16LE(0, header.shstrndx)

  const fuse = made.indexOf(`${FUSE}0`)
  if (fuse < 0 || fuse > fileEnd) throw new Error('this Node can not be made a single executable: no fuse')
  const again = made.indexOf(`${FUSE}0`, fuse + 1)
  if (again >= 0 && again < fileEnd) throw new Error('the fuse is there twice')
  made[fuse + FUSE.length] = 0x31
  return made
}
