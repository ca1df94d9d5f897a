/** The bridge that ingressPolicy is about, and whether containers are still on it. */
import { invalidConfig } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import type { Result } from '../../cni/types.ts'
import { isErrno, isLinkName, type Link, link } from '../../netlink/index.ts'
import { ownerAlias } from '../shared/identity.ts'

/**
 * The group of ports whose attachment goes. Like those by which links are deleted it is beyond what administrators use
 * (see LinkDeleter), and next to them: none is deleted by it.
 */
const GOING = 0x3fff_ffff

/** The links of the host that a result names, in its order. */
const hostLinks = async ({ host }: Pick<Context<unknown>, 'host'>, result: Result): Promise<Link[]> => {
  const names = (result.interfaces ?? []).flatMap(({ name, sandbox }) =>
    sandbox || !isLinkName(name) ? [] : [name],
  )
  if (names.length === 0) return []
  const outcomes = await host.batch(names.map((name) => link.get(name)))
  return outcomes.flatMap((outcome) => {
    if (outcome.ok) return [outcome.value]
    if (isErrno(outcome.error, 'ENODEV')) return []
    throw outcome.error
  })
}

/**
 * The host's interface that the container's packets come in by: the first bridge of the result; where it names none,
 * its first interface of the host (ptp's).
 * @throws CniError code 7 where there is none
 */
export const requireBridge = async (
  attachment: Pick<Context<unknown>, 'host'>,
  result: Result,
  policy: string,
): Promise<string> => {
  const links = await hostLinks(attachment, result)
  const found = links.find(({ kind }) => kind === 'bridge') ?? links[0]
  if (found) return found.name
  throw invalidConfig(
    `interface needs to be set for ingress policy ${JSON.stringify(policy)}, make sure to chain "firewall" plugin with "bridge"`,
    'the result of the plugins before names no interface that is on the host now',
  )
}

/** A container's port: a veth whose other end is in another namespace. One that is about to go is no more. */
const isContainerPort = ({ kind, linkNetnsId, group }: Link): boolean =>
  kind === 'veth' && linkNetnsId !== undefined && group < GOING

/** An attachment whose DEL has begun is added again: its ports count. */
export const keepPorts = async (
  attachment: Pick<Context<unknown>, 'host'>,
  result: Result,
): Promise<void> => {
  const going = (await hostLinks(attachment, result)).filter(({ group }) => group === GOING)
  for (const { index } of going) await attachment.host.run(link.set(index, { group: 0 }))
}

/**
 * The ports of a bridge. Before anybody else's counts, the own ones show that they go: of two attachments that go at the
 * same time each would keep the rules for the other, and nobody would remove them.
 */
const portsOf = async (
  { host }: Pick<Context<unknown>, 'host'>,
  bridge: number,
  isOwn: (port: Link) => boolean,
): Promise<readonly Link[]> => {
  const ports = await host.run(link.list({ master: bridge }))
  const own = ports.filter((port) => isOwn(port) && isContainerPort(port))
  if (own.length === 0 || !ports.some((port) => isContainerPort(port) && !isOwn(port))) return ports
  // One that can't be marked is gone, or is one more reason for others to leave the rules: no error.
  await host.batch(own.map(({ index }) => link.set(index, { group: GOING })))
  return await host.run(link.list({ master: bridge }))
}

/**
 * Bridges of these that no container is on, the attachment itself left out.
 * @param own the attachment that goes; its ports are known by the result of ADD, or by their alias
 */
export const unusedBridges = async (
  context: Pick<Context<unknown>, 'host' | 'network'>,
  bridges: Iterable<string>,
  own?: Pick<Attachment<unknown>, 'containerId' | 'ifName' | 'prevResult'>,
): Promise<Set<string>> => {
  const { host, network } = context
  const unused = new Set<string>()
  const names = new Set(own?.prevResult?.interfaces?.flatMap(({ name, sandbox }) => (sandbox ? [] : [name])))
  const alias = own && ownerAlias(network, own)
  const isOwn = (port: Link): boolean => names.has(port.name) || (alias !== undefined && port.alias === alias)
  for (const name of bridges) {
    const [outcome] = isLinkName(name) ? await host.batch([link.get(name)]) : []
    if (outcome && !outcome.ok && !isErrno(outcome.error, 'ENODEV')) throw outcome.error
    if (!outcome?.ok) unused.add(name)
    else if (outcome.value.kind === 'bridge') {
      const ports = await portsOf(context, outcome.value.index, isOwn)
      if (!ports.some((port) => isContainerPort(port) && !isOwn(port))) unused.add(name)
    } else if (isOwn(outcome.value)) unused.add(name)
  }
  return unused
}

/** The bridge of an attachment that goes: what its result names, or what its port is plugged into. */
export const bridgesOf = async (
  { host, network }: Pick<Context<unknown>, 'host' | 'network'>,
  own: Pick<Attachment<unknown>, 'containerId' | 'ifName' | 'prevResult'>,
): Promise<Set<string>> => {
  const named = own.prevResult?.interfaces?.flatMap(({ name, sandbox }) => (sandbox ? [] : [name]))
  if (named) return new Set(named)
  const alias = ownerAlias(network, own)
  if (alias === undefined) return new Set()
  const links = await host.run(link.list())
  // bandwidth's IFB has the alias, too.
  const ports = links.filter((found) => found.alias === alias)
  return new Set(ports.map((port) => links.find(({ index }) => index === port.master)?.name ?? port.name))
}
