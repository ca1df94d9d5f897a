/** What both backends are given: an attachment's port mappings, validated. */
import type { AttachmentId } from '../../cni/types.ts'

/** Transport protocols whose ports the kernel translates. */
export const protocols = ['tcp', 'udp', 'sctp', 'dccp', 'udplite'] as const
export type Protocol = (typeof protocols)[number]

/** One port of the host that leads to one of the container. */
export interface PortMapping {
  /** 1 to 65535. */
  readonly hostPort: number
  /** 1 to 65535. */
  readonly containerPort: number
  readonly protocol: Protocol
  /** The only address of the host that it answers on; undefined: on all, of both families. */
  readonly hostIp?: string | undefined
}

/** Whose mappings they are. */
export interface Owner extends AttachmentId {
  /** Name of the CNI network. */
  readonly network: string
}

/** The port mappings of an attachment. */
export interface Forwarding extends Owner {
  readonly mappings: readonly PortMapping[]
  /** Where they lead: one address a family at most, `address/prefix`. */
  readonly addresses: readonly string[]
  /** Hide the sender where the answer would not come back this way: from the container itself, its subnet, the node. */
  readonly snat: boolean
  /** Hide every sender. */
  readonly masqAll: boolean
  /** Tokens that a packet has to match besides, in the syntax of the backend. */
  readonly conditionsV4: readonly string[]
  readonly conditionsV6: readonly string[]
  /** iptables: the bit of the packet's mark that asks for masquerade, 0 to 31. */
  readonly markMasqBit: number
  /** iptables: a chain of somebody else's that sets such a mark; empty: our own. */
  readonly externalSetMarkChain: string
}
