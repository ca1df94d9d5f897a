/**
 * Userdata: bytes that the kernel keeps for nft and does not look at. Type-length-value with one byte each for type
 * and length (libnftnl/udata.h). A comment is a NUL-terminated string of type 0 in tables, chains, rules, objects and
 * elements; in sets it is type 7.
 */
import { MalformedError } from '../codec/reader.ts'

/** nft refuses longer comments (bytes, without the NUL). */
export const COMMENT_MAX = 128
/** `NFT_USERDATA_MAXLEN`. */
const USERDATA_MAX = 256

export interface UserdataEntry {
  readonly type: number
  readonly value: Uint8Array
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Writes entries one after the other. Throws RangeError past the kernel's 256 bytes. */
export const encodeUserdata = (entries: readonly UserdataEntry[]): Uint8Array => {
  const length = entries.reduce((sum, { value }) => sum + 2 + value.length, 0)
  if (length > USERDATA_MAX) throw new RangeError(`userdata of ${length} bytes, the limit is ${USERDATA_MAX}`)
  const bytes = new Uint8Array(length)
  let at = 0
  for (const { type, value } of entries) {
    bytes[at] = type
    bytes[at + 1] = value.length
    bytes.set(value, at + 2)
    at += 2 + value.length
  }
  return bytes
}

/** Reads the entries. Throws MalformedError where one reaches past the end. */
export const decodeUserdata = (bytes: Uint8Array): UserdataEntry[] => {
  const entries: UserdataEntry[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at + 1]
    if (length === undefined || at + 2 + length > bytes.length)
      throw new MalformedError(`userdata entry at offset ${at} of ${bytes.length} reaches past the end`)
    entries.push({ type: bytes[at]!, value: bytes.subarray(at + 2, at + 2 + length) })
    at += 2 + length
  }
  return entries
}

/** A comment as an entry. Throws RangeError where nft would refuse it: longer than 128 bytes, or with a NUL. */
export const commentEntry = (comment: string, type = 0): UserdataEntry => {
  const text = encoder.encode(comment)
  if (text.length > COMMENT_MAX)
    throw new RangeError(`a comment of ${text.length} bytes, nft takes at most ${COMMENT_MAX}`)
  if (comment.includes('\0')) throw new RangeError('a comment can not hold a NUL')
  const value = new Uint8Array(text.length + 1)
  value.set(text)
  return { type, value }
}

/** Userdata that holds a comment and nothing else; undefined without one. */
export const commentUserdata = (comment: string | undefined): Uint8Array | undefined =>
  comment === undefined ? undefined : encodeUserdata([commentEntry(comment)])

/**
 * The comment in userdata, if there is one. Userdata of programs that keep something else there is not an error, just
 * no comment.
 */
export const readComment = (userdata: Uint8Array | undefined, type = 0): string | undefined => {
  if (!userdata) return undefined
  let at = 0
  while (at + 2 <= userdata.length) {
    const length = userdata[at + 1]!
    const end = at + 2 + length
    if (end > userdata.length) return undefined
    if (userdata[at] === type && length > 0 && userdata[end - 1] === 0)
      // Faster than a TextDecoder for what is so short, and every rule of a list passes here.
      return Buffer.from(userdata.buffer, userdata.byteOffset + at + 2, length - 1).toString()
    at = end
  }
  return undefined
}

/** A type that neither nft nor iptables knows: both pass over it, and iptables compares rules without their userdata. */
const TAG = 0x6c

/**
 * Userdata of a rule with a comment, and with a tag that no other program reads. Throws RangeError for one of more than
 * 128 bytes, or more than 250 together.
 */
export const ruleUserdata = (comment: string | undefined, tag: string | undefined): Uint8Array | undefined =>
  tag === undefined
    ? commentUserdata(comment)
    : encodeUserdata([...(comment === undefined ? [] : [commentEntry(comment)]), commentEntry(tag, TAG)])

/** The tag in a rule's userdata, if there is one. */
export const readTag = (userdata: Uint8Array | undefined): string | undefined => readComment(userdata, TAG)

/** The text, cut where nft would refuse it as a comment; a character that the cut would split goes entirely. */
export const truncateComment = (text: string): string => {
  const bytes = encoder.encode(text)
  return bytes.length <= COMMENT_MAX
    ? text
    : decoder.decode(bytes.subarray(0, COMMENT_MAX)).replace(/\ufffd+$/, '')
}
