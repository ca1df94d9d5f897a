/** Client identifiers (option 61, RFC 2132 section 9.14): a type byte and what that type says. */

/** A type for identifiers that are no hardware address. */
const TYPE_OTHER = 0
/** IAID and DUID follow (RFC 4361 section 6.1). */
const TYPE_DUID = 255

/** What one option without parts holds. RFC 2132 wants two bytes at least. */
const MAX_LENGTH = 255
const MIN_LENGTH = 2

const encoder = new TextEncoder()

const typed = (type: number, value: Uint8Array): Uint8Array => {
  const id = new Uint8Array(1 + value.length)
  id[0] = type
  id.set(value, 1)
  return id
}

/**
 * The identifier that the Go plugin makes for an attachment: servers know leases by it, so an operator can swap one for
 * the other. Its text is cut to 254 bytes.
 */
export const goClientId = (containerId: string, network: string, ifName: string): Uint8Array =>
  typed(TYPE_OTHER, encoder.encode(`${containerId}/${network}/${ifName}`).subarray(0, MAX_LENGTH - 1))

/** RFC 4361 section 6.1: the same client for DHCPv4 and DHCPv6. */
export const duidClientId = (iaid: number, duid: Uint8Array): Uint8Array => {
  const id = new Uint8Array(5 + duid.length)
  id[0] = TYPE_DUID
  new DataView(id.buffer).setUint32(1, iaid)
  id.set(duid, 5)
  return id
}

/** Hardware type and address. */
export const macClientId = (htype: number, mac: Uint8Array): Uint8Array => typed(htype, mac)

/** A configured identifier: bytes as they are sent, or what the interface's address or the container's DUID makes. */
export type ClientId =
  | { readonly form: 'bytes'; readonly bytes: Uint8Array }
  | { readonly form: 'mac' }
  | { readonly form: 'duid' }

/** Pairs of hex digits, all with colons between or none. */
const parseHex = (text: string): Uint8Array | null =>
  /^(?:[0-9a-f]{2}(?::[0-9a-f]{2})*|(?:[0-9a-f]{2})+)$/i.test(text)
    ? Uint8Array.from(Buffer.from(text.replaceAll(':', ''), 'hex'))
    : null

/**
 * Reads a configured identifier: `mac`, `duid`, `hex:01:02…` for bytes with their type byte, anything else a text, which
 * gets the type byte 0. Null where it is none, or not 2 to 255 bytes long.
 */
export const parseClientId = (text: string): ClientId | null => {
  if (text === 'mac' || text === 'duid') return { form: text }
  const bytes = text.startsWith('hex:') ? parseHex(text.slice(4)) : typed(TYPE_OTHER, encoder.encode(text))
  return bytes && bytes.length >= MIN_LENGTH && bytes.length <= MAX_LENGTH ? { form: 'bytes', bytes } : null
}
