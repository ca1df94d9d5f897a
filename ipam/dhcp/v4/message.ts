/**
 * DHCP messages (RFC 2131 section 2) and how their options are laid out in them (RFC 2132, RFC 3396). What an option's
 * value means is in options.ts.
 *
 *   op htype hlen hops │ xid │ secs flags │ ciaddr yiaddr siaddr giaddr │ chaddr 16 │ sname 64 │ file 128 │ cookie │ options
 */
import { formatIp, parseIp } from '../../../netlink/ip.ts'

export interface Message {
  readonly op: 'BOOTREQUEST' | 'BOOTREPLY'
  /** Hardware type as in ARP: 1 for Ethernet. */
  readonly htype: number
  readonly hops: number
  /** Transaction id, 32 bits. */
  readonly xid: number
  /** Seconds since the client began, 16 bits. */
  readonly secs: number
  /** The client can't take unicast before it has an address. */
  readonly broadcast: boolean
  /** The client's address, dotted quad; 0.0.0.0 where it has none. */
  readonly ciaddr: string
  /** The address that the server gives. */
  readonly yiaddr: string
  readonly siaddr: string
  /** The relay's address. */
  readonly giaddr: string
  /** Hardware address: hlen bytes, at most 16. */
  readonly chaddr: Uint8Array
  /** Values by code, each whole: those from `file` and `sname` included. */
  readonly options: ReadonlyMap<number, Uint8Array>
}

/** Offsets in the fixed part. */
const CHADDR = 28
const SNAME = 44
const FILE = 108
const COOKIE = 236
const OPTIONS = 240

const CHADDR_LENGTH = 16
const MAGIC_COOKIE = 0x63825363
const FLAG_BROADCAST = 0x8000
const BOOTREQUEST = 1
const BOOTREPLY = 2

/** The shortest message a BOOTP relay is sure to take (RFC 1542 section 2.1). */
const MIN_LENGTH = 300
/** The most that one length byte can say. */
const MAX_PART = 255

const PAD = 0
const END = 255
/** Option overload: which of `file` (1) and `sname` (2) hold options. */
const OVERLOAD = 52
const MESSAGE_TYPE = 53

const OVERLOAD_FILE = 1
const OVERLOAD_SNAME = 2

/** What a value needs: two bytes a part, and an empty one is a part too. */
const encodedLength = (value: Uint8Array): number =>
  value.length + 2 * Math.max(1, Math.ceil(value.length / MAX_PART))

/** The message type comes first, where servers and filters look for it; the others keep their order. */
const inOrder = (options: Message['options']): [code: number, value: Uint8Array][] => {
  const all = [...options]
  return [...all.filter(([code]) => code === MESSAGE_TYPE), ...all.filter(([code]) => code !== MESSAGE_TYPE)]
}

const writeAddress = (bytes: Uint8Array, at: number, text: string): void => {
  const address = parseIp(text)
  if (address?.length !== 4) throw new RangeError(`${JSON.stringify(text)} is not an IPv4 address`)
  bytes.set(address, at)
}

/**
 * The bytes of a message: 300 at least, `sname` and `file` zero, values of more than 255 bytes in parts (RFC 3396).
 * @throws RangeError for an address that is none, a chaddr of more than 16 bytes, an option code outside 1 to 254, and
 *   for option 52, which says that `sname` or `file` hold options
 */
export const encode = (message: Message): Uint8Array => {
  const { op, htype, hops, xid, secs, broadcast, chaddr } = message
  if (chaddr.length > CHADDR_LENGTH)
    throw new RangeError(`chaddr has ${chaddr.length} bytes, the limit is 16`)
  const options = inOrder(message.options)
  const length = options.reduce((sum, [, value]) => sum + encodedLength(value), OPTIONS + 1)
  const bytes = new Uint8Array(Math.max(MIN_LENGTH, length))
  const view = new DataView(bytes.buffer)
  bytes[0] = op === 'BOOTREQUEST' ? BOOTREQUEST : BOOTREPLY
  bytes[1] = htype
  bytes[2] = chaddr.length
  bytes[3] = hops
  view.setUint32(4, xid)
  view.setUint16(8, secs)
  view.setUint16(10, broadcast ? FLAG_BROADCAST : 0)
  writeAddress(bytes, 12, message.ciaddr)
  writeAddress(bytes, 16, message.yiaddr)
  writeAddress(bytes, 20, message.siaddr)
  writeAddress(bytes, 24, message.giaddr)
  bytes.set(chaddr, CHADDR)
  view.setUint32(COOKIE, MAGIC_COOKIE)
  let at = OPTIONS
  for (const [code, value] of options) {
    if (!Number.isInteger(code) || code <= PAD || code >= END || code === OVERLOAD)
      throw new RangeError(`${code} is not the code of an option that can be sent`)
    let rest = value
    do {
      const part = rest.subarray(0, MAX_PART)
      bytes[at] = code
      bytes[at + 1] = part.length
      bytes.set(part, at + 2)
      at += 2 + part.length
      rest = rest.subarray(MAX_PART)
    } while (rest.length > 0)
  }
  bytes[at] = END
  return bytes
}

type Parts = Map<number, Uint8Array[]>

/**
 * Collects the options of one field. An option that reaches past the field ends it, and what came before counts: there
 * are servers whose last option is broken, and dhclient takes leases from them for that reason. A message that lost what
 * matters lacks its type or its server, and is no use to the client either way.
 */
const collect = (field: Uint8Array, parts: Parts): void => {
  let at = 0
  while (at < field.length) {
    const code = field[at++]!
    if (code === PAD) continue
    if (code === END || at === field.length) return
    const length = field[at++]!
    if (length > field.length - at) return
    const part = field.subarray(at, at + length)
    const others = parts.get(code)
    if (others) others.push(part)
    else parts.set(code, [part])
    at += length
  }
}

const concat = (parts: readonly Uint8Array[]): Uint8Array => {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/**
 * Reads a message; null for what is none: too short, another op or cookie, hlen over 16. Values are copies. An option
 * that comes more than once is one value in parts (RFC 3396 section 7), in the order options, file, sname. Option 52
 * itself is not in the result, which is no longer overloaded.
 */
export const parse = (bytes: Uint8Array): Message | null => {
  if (bytes.length < OPTIONS) return null
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const op = bytes[0]
  const hlen = bytes[2]!
  if (op !== BOOTREQUEST && op !== BOOTREPLY) return null
  if (hlen > CHADDR_LENGTH || view.getUint32(COOKIE) !== MAGIC_COOKIE) return null
  const parts: Parts = new Map()
  collect(bytes.subarray(OPTIONS), parts)
  const overload = parts.get(OVERLOAD)?.[0]?.[0] ?? 0
  if (overload & OVERLOAD_FILE) collect(bytes.subarray(FILE, COOKIE), parts)
  if (overload & OVERLOAD_SNAME) collect(bytes.subarray(SNAME, FILE), parts)
  parts.delete(OVERLOAD)
  const options = new Map<number, Uint8Array>()
  for (const [code, some] of parts) options.set(code, concat(some))
  const address = (at: number) => formatIp(bytes.subarray(at, at + 4))
  return {
    op: op === BOOTREQUEST ? 'BOOTREQUEST' : 'BOOTREPLY',
    htype: bytes[1]!,
    hops: bytes[3]!,
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    broadcast: (view.getUint16(10) & FLAG_BROADCAST) !== 0,
    ciaddr: address(12),
    yiaddr: address(16),
    siaddr: address(20),
    giaddr: address(24),
    chaddr: bytes.slice(CHADDR, CHADDR + hlen),
    options,
  }
}
