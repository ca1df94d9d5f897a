/**
 * Filters for packet sockets in classic BPF (linux/filter.h), so that only what a client waits for wakes it. For sockets
 * of type SOCK_DGRAM: offset 0 is the network header.
 */
import { littleEndian } from '../../netlink/codec/writer.ts'

/** `struct sock_filter`: 16 bits code, 8 bits each for how far to jump, 32 bits k. */
const INSTRUCTION = 8

const LDW_ABS = 0x20
const LDH_ABS = 0x28
const LDB_ABS = 0x30
/** Relative to X. */
const LDH_IND = 0x48
/** X = 4 × (byte & 0x0f): the length of an IPv4 header. */
const LDX_MSH = 0xb1
const AND = 0x54
const JEQ = 0x15
const JSET = 0x45
const RET = 0x06

/** How many bytes pass; more than any packet has. */
const WHOLE = 0x4_0000

/** Jumps go here: to the program's last two instructions. */
type Target = 'accept' | 'drop' | 'next'
type Instruction = readonly [code: number, k: number, ifTrue?: Target, ifFalse?: Target]

/** The program's bytes, with `accept` and `drop` appended. A load beyond the packet's end drops it. */
const assemble = (...body: readonly Instruction[]): Uint8Array => {
  const program: Instruction[] = [...body, [RET, WHOLE], [RET, 0]]
  const bytes = new Uint8Array(program.length * INSTRUCTION)
  const view = new DataView(bytes.buffer)
  program.forEach(([code, k, ifTrue = 'next', ifFalse = 'next'], index) => {
    const distance = (target: Target) =>
      target === 'next' ? 0 : body.length + (target === 'drop' ? 1 : 0) - index - 1
    const at = index * INSTRUCTION
    view.setUint16(at, code, littleEndian)
    view.setUint8(at + 2, distance(ifTrue))
    view.setUint8(at + 3, distance(ifFalse))
    view.setUint32(at + 4, k, littleEndian)
  })
  return bytes
}

const must = (k: number): Instruction => [JEQ, k, 'next', 'drop']

/** Whole UDP datagrams over IPv4 to `port`; fragments do not pass. */
export const udpFilter = (port: number): Uint8Array =>
  assemble(
    [LDB_ABS, 0],
    [AND, 0xf0],
    must(0x40),
    [LDB_ABS, 9],
    must(17),
    // More fragments, or not the first.
    [LDH_ABS, 6],
    [JSET, 0x3fff, 'drop', 'next'],
    [LDX_MSH, 0],
    [LDH_IND, 2],
    must(port),
  )

/** ARP requests and replies for IPv4 over Ethernet. */
export const arpFilter: Uint8Array = assemble(
  // Ethernet, IPv4; addresses of 6 and 4 bytes.
  [LDW_ABS, 0],
  must(0x0001_0800),
  [LDH_ABS, 4],
  must(0x0604),
  [LDH_ABS, 6],
  [JEQ, 1, 'accept', 'next'],
  must(2),
)

/**
 * ICMPv6 of one of two types that no router has forwarded (hop limit 255): what neighbour discovery wants, RFC 4861
 * sections 6.1.2 and 7.1. Packets with extension headers do not pass.
 */
export const icmp6Filter = (type: number, other = type): Uint8Array =>
  assemble(
    [LDB_ABS, 0],
    [AND, 0xf0],
    must(0x60),
    // Next header and hop limit.
    [LDH_ABS, 6],
    must(0x3aff),
    [LDB_ABS, 40],
    [JEQ, type, 'accept', 'next'],
    must(other),
  )
