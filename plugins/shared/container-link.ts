/**
 * Interface plugins whose attachment is one link in the container, and nothing on the host: macvlan, ipvlan, vlan, dummy,
 * tap. A plugin says how its link is made and what is special to look at; addresses, routes, CHECK, DEL and GC are here.
 */
import type * as z from 'zod/mini'
import { CniError, codes } from '../../cni/error.ts'
import { type Attachment, type Context, definePlugin } from '../../cni/plugin.ts'
import { allVersions, type Dns, type Result } from '../../cni/types.ts'
import type { Step } from '../../cni/undo.ts'
import {
  type BriefLink,
  type Connection,
  isErrno,
  type Link,
  link,
  NetlinkError,
  sameMac,
} from '../../netlink/index.ts'
import { assign, assignedMtu } from './assign.ts'
import {
  checkConfiguration,
  checkFacts,
  checkFailed,
  checkLink,
  containerInterface,
  findBrief,
  findLink,
  requirePrevResult,
} from './check.ts'
import { configureLink } from './configure.ts'
import { chooseDns } from './dns.ts'
import { Failures } from './failures.ts'
import { aliasPrefix, ownerAlias, randomIndex } from './identity.ts'
import { removeAndRelease } from './release.ts'
import { interfaceEntry } from './result.ts'
import { deleteLink } from './veth.ts'

/** A link that was made in the container, and is the attachment's ({@link claim}). It is down. Its inverse is on the undo stack. */
export interface Made {
  readonly index: number
  readonly mac: string
  readonly mtu: number
  /** False where its lower interface passes nothing now: duplicates of IPv6 addresses can't be looked for yet. */
  readonly carrier?: boolean | undefined
}

interface Common {
  readonly dns?: Dns | undefined
  readonly mtu?: number | undefined
}

export interface ContainerLinkPlugin<S extends z.core.$ZodType<Common>, P> {
  readonly type: string
  /** IFLA_INFO_KIND of the link. Default: the plugin's type. */
  readonly kind?: string | undefined
  /** Whether its links have MACs of their own, and not their master's, which all of them share. Default true. */
  readonly ownMac?: boolean | undefined
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

/**
 * A number for a new link that none in the container has: a {@link claim} behind a request that is refused must not
 * meet somebody else's link.
 */
export const freeIndex = async (container: Connection): Promise<number> => {
  for (;;) {
    const index = randomIndex()
    if (!(await findLink(container, index))) return index
  }
}

/**
 * What makes a new link the attachment's, for the very datagram that makes it: a process that is killed leaves nothing
 * that DEL does not know. The alias goes first, for the name may be taken.
 */
export const claim = (attachment: Attachment<unknown>, index: number): Step[] => {
  const alias = ownerAlias(attachment.network, attachment)
  return [
    ...(alias ? [{ request: link.set(index, { alias }) }] : []),
    { request: link.set(index, { name: attachment.ifName }) },
  ]
}

/** The container has an interface of the attachment's name. */
export const nameTaken = (kind: string, ifName: string, cause: unknown): CniError =>
  new CniError({
    code: codes.internal,
    msg: `failed to rename ${kind} to ${JSON.stringify(ifName)}: file exists`,
    details: `the container has an interface ${ifName} already; CNI_IFNAME has to name a new one`,
    cause,
  })

/** Says in words that the name of a {@link claim} is taken. */
export const explainClaim = (error: unknown, kind: string, ifName: string, index: number): unknown => {
  const renaming = link.set(index, { name: ifName }).op
  return error instanceof NetlinkError && error.op === renaming && isErrno(error, 'EEXIST')
    ? nameTaken(kind, ifName, error)
    : error
}

/** The MAC of the attachment's interface as the result has it; undefined where it tells the interface from no other. */
const listedMac = ({ prevResult, ifName }: Attachment<unknown>, ownMac: boolean): string | undefined =>
  ownMac ? prevResult?.interfaces?.find(({ name, sandbox }) => sandbox && name === ifName)?.mac : undefined

/** Why the link that has the attachment's name is not the attachment's; null where it is. */
const foreignTo = (
  attachment: Attachment<unknown>,
  kind: string,
  mac: string | undefined,
  found: BriefLink,
): string | null => {
  if (found.kind !== kind) return `it is no ${kind}: ${found.kind ?? 'hardware'}`
  if (found.alias?.startsWith(aliasPrefix))
    return found.alias === ownerAlias(attachment.network, attachment) ? null : `it belongs to ${found.alias}`
  return mac && !sameMac(mac, found.address) ? `its MAC is ${found.address}, the result says ${mac}` : null
}

/** Links under other names that are the attachment's: renamed in the container, or never given their name. */
const strays = async (
  attachment: Attachment<unknown>,
  kind: string,
  mac: string | undefined,
): Promise<Link[]> => {
  const alias = ownerAlias(attachment.network, attachment)
  return (await attachment.container.run(link.list())).filter((found) => {
    if (found.kind !== kind || found.name === attachment.ifName) return false
    // Others, the Go plugins among them, give no alias.
    return found.alias ? found.alias === alias : mac && sameMac(mac, found.address)
  })
}

/**
 * Removes the attachment's link, whatever became of its lower interface. One that has its name but is not the
 * attachment's stays: a DEL follows an ADD that failed because the name was taken.
 * @throws NetlinkError
 */
const removeLink = async (attachment: Attachment<unknown>, kind: string, ownMac: boolean): Promise<void> => {
  const { netns, container, ifName, log } = attachment
  // With its namespace the link has gone, too.
  if (!netns) return
  const mac = listedMac(attachment, ownMac)
  const found = await findBrief(container, ifName)
  const why = found && foreignTo(attachment, kind, mac, found)
  if (found && why === null) return await deleteLink(container, found.index)
  if (why) log.warn(`${ifName} is left alone: ${why}`)
  for (const { index } of await strays(attachment, kind, mac)) await deleteLink(container, index)
}

/** A plugin of one link. */
export const defineContainerLink = <S extends z.core.$ZodType<Common>, P>(
  definition: ContainerLinkPlugin<S, P>,
) => {
  const { type, kind = type, ownMac = true, conf: schema } = definition
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
      const { index, mac, mtu, carrier } = made
      const assigned = elsewhere ?? (await assign(attachment))
      const told = { name: ifName, address: mac, mtu: assignedMtu(attachment, assigned) ?? mtu }
      const interfaces = [interfaceEntry(attachment, told, netnsPath)]
      const ips = (assigned?.ips ?? []).map(({ address, gateway }) => ({ address, gateway, interface: 0 }))
      const routes = assigned?.routes ?? []
      const shared = definition.shared?.(conf) ?? true
      try {
        if (assigned)
          await configureLink(attachment, {
            ...{ index, name: ifName, ips, routes },
            ...{ dad: shared, wait: carrier, announce: shared },
          })
        else await container.run(link.set(index, { up: true }))
      } catch (error) {
        throw definition.explain?.(error, planned) ?? error
      }
      if (!assigned) return { interfaces, dns: conf.dns }
      return { interfaces, ips, routes, dns: chooseDns(conf.dns, assigned.dns) }
    },

    async check(attachment: Own): Promise<void> {
      const { container, ipam } = attachment
      const result = requirePrevResult(attachment)
      const entry = containerInterface(result, attachment)
      // Plugins behind this one may change the MTU, and it follows the master's down.
      const found = await checkLink(container, { ...entry, mtu: undefined }, kind)
      if (!found.up) throw checkFailed(`interface ${found.name} is down`)
      const { mtu } = attachment.conf
      // A DHCP server may have asked for another one.
      if (mtu && ipam?.type !== 'dhcp') checkFacts(found, [['MTU', found.mtu, mtu]])
      await definition.check?.(attachment, found)
      await ipam?.check()
      await checkConfiguration(attachment, found, result)
    },

    async del(attachment: Own): Promise<void> {
      const failures = new Failures()
      const remove = () => failures.succeeds(() => removeLink(attachment, kind, ownMac))
      await removeAndRelease(attachment, failures, remove, (ipam) => ipam.del())
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
