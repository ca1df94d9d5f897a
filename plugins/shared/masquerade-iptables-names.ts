/** What the iptables backend's chains and comments are called: as in the Go plugins, which find each other's by it. */
import { createHash } from 'node:crypto'

/** The chain of a container in a network. The interface is not part of it: two attachments share one. */
export const chainName = (network: string, containerId: string): string =>
  `CNI-${createHash('sha512')
    .update(network + containerId)
    .digest('hex')
    .slice(0, 24)}`

/** Whether it is the name of such a chain. */
export const isChainName = (name: string): boolean => /^CNI-[0-9a-f]{24}$/.test(name)

/** The comment on each rule, in Go's quotes. */
export const ruleComment = (network: string, containerId: string): string =>
  `name: ${JSON.stringify(network)} id: ${JSON.stringify(containerId)}`

/** The container that a text with a comment of the network names; undefined where there is none. */
export const ownerInComment = (network: string, text: string): string | undefined => {
  const begin = ruleComment(network, '').slice(0, -1)
  const at = text.indexOf(begin)
  if (at < 0) return undefined
  const end = text.indexOf('"', at + begin.length)
  return end < 0 ? undefined : text.slice(at + begin.length, end)
}
