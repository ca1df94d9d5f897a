/** Whose a rule is. */
import type { AttachmentId } from '../../cni/types.ts'
import { masqueradeComment } from '../shared/masquerade-nftables.ts'

/** Two hashes of 16 hex digits, of the network and of the interface in its container, with a hyphen between them. */
const NETWORK_LENGTH = 17
const KEY_LENGTH = 33

/** `<hash of the network>-<hash of interface and container>, net: …, if: …, id: …`: to find rules by, and for people. */
export const ownerText = (network: string, { containerId, ifName }: AttachmentId): string =>
  masqueradeComment({ network, containerId, ifName })

/** The same of an address that is a source of a zone of firewalld's. */
export const zonedOwner = (owner: string, zone: string): string => `${owner}, zone: ${zone}`

/** The zone that it names; undefined where it names none. */
export const zoneOfOwner = (text: string): string | undefined => /, zone: (\S+)$/.exec(text)?.[1]

/** What tells owners apart. */
export const ownerKey = (text: string): string => text.slice(0, KEY_LENGTH)

/** What owners of one network have in common. */
export const networkKey = (text: string): string => text.slice(0, NETWORK_LENGTH)
