/** What the iptables backend's chains and comments are called: as in the Go plugin and in tools that read its rules. */
import { hash } from 'node:crypto'

/** Leads to the containers' chains, by port. Entered for what is addressed to the host itself. */
export const DNAT_CHAIN = 'CNI-HOSTPORT-DNAT'
/** Gives a packet the mark that asks for masquerade. */
export const SETMARK_CHAIN = 'CNI-HOSTPORT-SETMARK'
/** Masquerades what has the mark. */
export const MASQ_CHAIN = 'CNI-HOSTPORT-MASQ'
/** Of plugins before 0.7.3, which translated sources by container. */
export const OLD_SNAT_CHAIN = 'CNI-HOSTPORT-SNAT'

const MAX_CHAIN = 28

const chainOf = (prefix: string, network: string, containerId: string): string =>
  prefix + hash('sha512', network + containerId, 'hex').slice(0, MAX_CHAIN - prefix.length)

/** The chain of a container in a network. The interface is not part of it: two attachments share one. */
export const dnatChain = (network: string, containerId: string): string =>
  chainOf('CNI-DN-', network, containerId)

/** The chain that old plugins made besides. */
export const oldSnatChain = (network: string, containerId: string): string =>
  chainOf('CNI-SN-', network, containerId)

/** Whether it is the name of one of the two. */
export const isContainerChain = (name: string): boolean => /^CNI-[DS]N-[0-9a-f]{21}$/.test(name)

/** Bytes of a comment that xtables keep. */
const MAX_COMMENT = 255

/**
 * The comment on the rules that lead to a container's chain. The Go plugin ends a longer one with three dots, of which
 * iptables keeps two.
 */
export const entryComment = (network: string, containerId: string): string => {
  const comment = `dnat name: "${network}" id: "${containerId}"`
  return comment.length <= MAX_COMMENT ? comment : `${comment.slice(0, MAX_COMMENT - 2)}..`
}

/** Whether a text has the comment of a container of the network. */
export const isOfNetwork = (network: string, text: string): boolean =>
  text.includes(`nat name: "${network}" id: "`)
