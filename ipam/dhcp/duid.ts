/** What names a client across its messages, DHCPv6's and RFC 4361's: the same for the same container on every ADD. */
import { createHash } from 'node:crypto'

/** DUID-UUID (RFC 6355). */
const DUID_UUID = 4
const UUID_LENGTH = 16

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** DUID-UUID of a container, 18 bytes; its UUID is made from the id, in the form of version 8 (RFC 9562 section 5.8). */
export const duidUuid = (containerId: string): Uint8Array => {
  const duid = new Uint8Array(2 + UUID_LENGTH)
  duid[1] = DUID_UUID
  const uuid = duid.subarray(2)
  uuid.set(sha256(containerId).subarray(0, UUID_LENGTH))
  uuid[6] = (uuid[6]! & 0x0f) | 0x80
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return duid
}

/** Identity association of an interface (RFC 8415 section 12), 32 bits: one for each network that it is attached to. */
export const iaidOf = (network: string, ifName: string): number =>
  sha256(`${network}\0${ifName}`).readUInt32BE(0)
