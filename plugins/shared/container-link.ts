/**
 * Interface plugins whose attachment is one link in the container, and nothing on the host: macvlan, ipvlan, vlan, dummy,
 * tap. A plugin says how its link is made and what is special to look at; addresses, routes, CHECK, DEL and GC are here.
 */
import type * as z from 'zod/mini'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Dns, type Result } from '../../cni/types.ts'
import { type Link, link, sameMac } from '../../netlink/index.ts'
import { assign } from './assign.ts'
import {
  checkConfiguration,
  checkFailed,
  checkLink,
  containerInterface,
  findLink,
  requirePrevResult,
} from './check.ts'
import { configureLink } from './configure.ts'
import { chooseDns } from './dns.ts'
import { Failures } from './failures.ts'
import { aliasPrefix, ownerAlias } from './identity.ts'
import { interfaceEntry } from './result.ts'
import { deleteLink } from './veth.ts'

/** A link that was made in the container; it is down. Its inverse is on the undo stack. */
export interface Made {
  readonly index: number
  /** Its name now; it gets CNI_IFNAME's with its addresses. */
  readonly name: string
  readonly mac: string
  readonly mtu: number
}

interface WithDns {
  readonly dns?: Dns | undefined
}

export interface ContainerLinkPlugin<S extends z.core.$ZodType<WithDns>, P> {
  readonly type: string
  /** IFLA_INFO_KIND of the link. Default: the plugin's type. */
  readonly kind?: string | undefined
  readonly conf: S
  /** Whether IPv6 addresses are probed before use, and announced: where others share the link. Default true. */
  readonly shared?: ((conf: z.infer<S>) => boolean) | undefined
  /** Everything that can be refused is refused here, before anything is touched. @throws CniError */
  plan(attachment: Attachment<z.infer<S>>): Promise<P>
  /** @throws CniError, NetlinkError */
  make(attachment: Attachment<z.infer<S>>, planned: P): Promise<Made>
  /** Addresses that come from elsewhere than IPAM; null: IPAM's, or none. */
  assigned?: ((attachment: Attachment<z.infer<S>>) => Result | null) | undefined
  /** Says in words that help why the link could not be set up. */
  explain?: ((error: unknown, planned: P) => unknown) | undefined
  /** What is special to look at: the link exists, is of the kind, has its MAC and is up. @throws CniError */
  check?: ((attachment: Attachment<z.infer<S>>, found: Link) => Promise<void>) | undefined
  /** @throws CniError code 50 where an ADD could not work now; IPAM is asked afterwards */
  status?: ((context: Context<z.infer<S>>) => Promise<void>) | undefined
}

/** The alias of the link, by which DEL knows it. */
const label = async (attachment: Attachment<unknown>, { index }: Made): Promise<void> => {
  const alias = ownerAlias(attachment.network, attachment)
  if (alias) await attachment.container.run(link.set(index, { alias }))
}

const foreignTo = (attachment: Attachment<unknown>, kind: string, found: Link): string | null => {
  const { network, prevResult, ifName } = attachment
  if (found.kind !== kind) return `it is no ${kind}: ${found.kind ?? 'hardware'}`
  if (found.alias?.startsWith(aliasPrefix))
    return found.alias === ownerAlias(network, attachment) ? null : `it belongs to ${found.alias}`
  const listed = prevResult?.interfaces?.find(({ name, sandbox }) => sandbox && name === ifName)
  return listed?.mac && !sameMac(listed.mac, found.address)
    ? `its MAC is ${found.address}, the result says ${listed.mac}`
    : null
}

/**
 * Removes the attachment's link, whatever became of its lower interface. One that has its name but is not the
 * attachment's stays: a DEL follows an ADD that failed because the name was taken.
 * @throws NetlinkError
 */
export const removeLink = async (attachment: Attachment<unknown>, kind: string): Promise<void> => {
  const { netns, container, ifName, log } = attachment
  // With its namespace the link has gone, too.
  if (!netns) return
  const found = await findLink(container, ifName)
  if (!found) return
  const why = foreignTo(attachment, kind, found)
  if (why === null) await deleteLink(container, found.index)
  else log.warn(`${ifName} is left alone: ${why}`)
}

/** A plugin of one link. */
export const defineContainerLink = <S extends z.core.$ZodType<WithDns>, P>(
  definition: ContainerLinkPlugin<S, P>,
) => {
  const { type, kind = type, conf: schema } = definition
  type Own = Attachment<z.infer<S>>

  return definePlugin({
    type,
    kind: 'interface',
    versions: allVersions,
    conf: schema,

    async add(attachment: Own): Promise<Result> {
      const { conf, container, ifName, netnsPath } = attachment
      const planned = await definition.plan(attachment)
      const elsewhere = definition.assigned?.(attachment) ?? null
      const made = await definition.make(attachment, planned)
      await label(attachment, made)
      const { index, name, mac, mtu } = made
      const rename = name === ifName ? undefined : ifName
      const interfaces = [interfaceEntry(attachment, { name: ifName, address: mac, mtu }, netnsPath)]
      const assigned = elsewhere ?? (await assign(attachment))
      const ips = (assigned?.ips ?? []).map(({ address, gateway }) => ({ address, gateway, interface: 0 }))
      const routes = assigned?.routes ?? []
      const shared = definition.shared?.(conf) ?? true
      try {
        if (assigned)
          await configureLink(attachment, { index, name, rename, ips, routes, dad: shared, announce: shared })
        else await container.run(link.set(index, { name: rename, up: true }))
      } catch (error) {
        throw definition.explain?.(error, planned) ?? error
      }
      if (!assigned) return { interfaces, dns: conf.dns }
      return { interfaces, ips, routes, dns: chooseDns(conf.dns, assigned.dns) }
    },

    async check(attachment: Own): Promise<void> {
      const { container, ipam } = attachment
      const result = requirePrevResult(attachment)
      const { entry, index } = containerInterface(result, attachment)
      const found = await checkLink(container, entry, kind)
      if (!found.up) throw checkFailed(`interface ${found.name} is down`)
      await definition.check?.(attachment, found)
      await ipam?.check()
      await checkConfiguration(container, found, result, index)
    },

    /** IPAM goes first, while the interface is there to send a release over. */
    async del(attachment: Own): Promise<void> {
      const failures = new Failures()
      await failures.attempt(() => attachment.ipam?.del())
      await failures.attempt(() => removeLink(attachment, kind))
      failures.raise()
    },

    async status(context: Context<z.infer<S>>): Promise<void> {
      await definition.status?.(context)
      await context.ipam?.status()
    },

    /** The links have gone with their namespaces. */
    async gc({ ipam }, valid): Promise<void> {
      await ipam?.gc(valid)
    },
  })
}
