/** Whose a rule is. */
import type { AttachmentId } from '../../cni/types.ts'
import { masqueradeComment } from '../shared/masquerade-nftables.ts'

/** Two hashes of 16 hex digits, of the network and of the interface in its container, with a hyphen between them. */
const NETWORK_LENGTH = 17
const KEY_LENGTH = 33

/** `<hash of the network>-<hash of interface and container>, net: …, if: …, id: …`: to find rules by, and for people. */
export const ownerText = (network: string, { containerId, ifName }: AttachmentId): string =>
  masqueradeComment({ network, containerId, ifName })

/** What tells owners apart. */
export const ownerKey = (text: string): string => text.slice(0, KEY_LENGTH)

/** What owners of one network have in common. */
export const networkKey = (text: string): string => text.slice(0, NETWORK_LENGTH)
