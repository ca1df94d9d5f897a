/** Links that need a lower interface, their master: macvlan, ipvlan, vlan. */
import * as z from 'zod/mini'
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Attachment, Context } from '../../cni/plugin.ts'
import { int, rule } from '../../cni/schema.ts'
import { apply } from '../../cni/undo.ts'
import {
  type BriefLink,
  type Connection,
  isErrno,
  type Link,
  link,
  NetlinkError,
  Netns,
  nsid,
  route,
} from '../../netlink/index.ts'
import { checkFailed, findBrief, findLink } from './check.ts'
import { claim, explainClaim, freeIndex, type Made } from './container-link.ts'
import { randomIndex, vethName } from './identity.ts'
import { deleteLink } from './veth.ts'

/** Keys that the plugins have in common. */
export interface LowerConf {
  /** Empty: the interface of the default route. */
  readonly master: string
  readonly linkInContainer: boolean
}

/** `mtu`, in bytes; 0: the master's. */
export const lowerMtuKey = z._default(
  int.check(
    rule(
      (value) => value >= 0,
      (value) => `invalid MTU ${value}, must be [0, master MTU]`,
    ),
  ),
  0,
)

const place = ({ host, container }: Attachment<unknown>, inContainer: boolean): Connection =>
  inContainer ? container : host

/** Index of the interface of the first default route, IPv4 before IPv6; undefined where there is none. */
const defaultInterface = async (connection: Connection): Promise<number | undefined> => {
  for (const dst of ['0.0.0.0/0', '::/0']) {
    const [first] = await connection.run(route.list({ table: 'main', dst }))
    const index = first?.index ?? first?.nexthops[0]?.index
    if (index !== undefined) return index
  }
  return undefined
}

/** Finds a master where it is to be. @throws CniError code 7 where there is none */
export const lookUpMaster = async (connection: Connection, name: string): Promise<BriefLink> => {
  const which = name === '' ? await defaultInterface(connection) : name
  if (which === undefined)
    throw new CniError({
      code: codes.invalidConfig,
      msg: 'no default route interface found',
      details: 'there is no default route: name the interface in "master"',
    })
  const found = await findBrief(connection, which)
  if (found) return found
  throw new CniError({
    code: codes.invalidConfig,
    msg: `failed to lookup master ${JSON.stringify(name)}: Link not found`,
    details: 'there is no such interface: look at its name in "master", or whether its driver is loaded',
  })
}

/** The master of an attachment. @param name default: the configuration's. @throws CniError */
export const findMaster = (attachment: Attachment<LowerConf>, name?: string): Promise<BriefLink> => {
  const { conf } = attachment
  return lookUpMaster(place(attachment, conf.linkInContainer), name ?? conf.master)
}

/**
 * For CHECK: the link is on the master that the configuration names. The default route's may have changed since, and is
 * not looked for.
 * @throws CniError
 */
export const checkMaster = async (attachment: Attachment<LowerConf>, found: Link): Promise<void> => {
  const { conf } = attachment
  if (conf.master === '') return
  const master = await findLink(place(attachment, conf.linkInContainer), conf.master)
  if (!master) throw checkFailed(`master ${conf.master} does not exist`)
  // One that is a link of this kind itself hands the link to its own master.
  const handsOn = master.kind === found.kind && found.link === master.link
  if (found.link !== master.index && !handsOn)
    throw checkFailed(`interface ${found.name} is on another interface than ${master.name}`)
}

/**
 * The MTU that is asked for; a link can't have a larger one than its master.
 * @throws CniError code 7
 */
export const lowerMtu = (mtu: number, master: BriefLink): number => {
  if (mtu > master.mtu) throw invalidConfig(`invalid MTU ${mtu}, must be [0, master MTU(${master.mtu})]`)
  return mtu || master.mtu
}

/** A new link on top of its master. */
export interface LowerLink {
  readonly master: BriefLink
  readonly kind: link.KindOptions
  /** Empty: the kernel's choice, which is the master's but for macvlan. */
  readonly mac: string
  readonly mtu: number
  /** The kernel gives it its master's MAC when it is made, and heeds another only then. Default false. */
  readonly inheritsMac?: boolean | undefined
}

const TRIES = 10

/** What errors of the kernel mean of a kind of link, by their codes. */
export type Reasons = Readonly<Record<string, string>>

const reasonsOfMaster = ({ name, type }: BriefLink, kind: string): Reasons => ({
  ENETDOWN: `${name} is down: ip link set ${name} up`,
  ENODEV: `${name} has just gone`,
  ...(type === 'ether'
    ? {}
    : { EINVAL: `${name} is no Ethernet interface (${type}), and can carry no ${kind}` }),
})

/**
 * Says in words that help why the kernel did not make a link, or did not set it up.
 * @param master null for a link without one
 */
export const explainLink = (
  error: unknown,
  kind: string,
  master: BriefLink | null,
  reasons: Reasons = {},
): unknown => {
  if (!(error instanceof NetlinkError)) return error
  const { [error.code]: details = error.code === 'EOPNOTSUPP' ? noSuchKind(kind) : undefined } = {
    ...(master ? reasonsOfMaster(master, kind) : {}),
    ...reasons,
  }
  if (!details) return error
  return new CniError({ code: codes.internal, msg: error.message, details, cause: error })
}

const moduleOf = (kind: string): string => (kind === 'vlan' ? '8021q' : kind)
const noSuchKind = (kind: string): string =>
  `this kernel makes no ${kind} links: load its module (modprobe ${moduleOf(kind)})`

/** Whether a number is taken on either side: kernels before 6.15 make the link beside its master and move it then. */
const isTaken = async ({ host, container }: Attachment<unknown>, index: number): Promise<boolean> =>
  (await findLink(host, index)) !== null || (await findLink(container, index)) !== null

/**
 * Where the master lives, for a request in the container: the identifier that the host's namespace has there, and the
 * request that gives it one. The kernel would do so itself when it tells of the new link.
 */
const masterPlace = async ({ conf, container, hostNetns }: Attachment<LowerConf>) => {
  if (conf.linkInContainer) return { linkNetnsId: undefined, steps: [] }
  const known = await container.run(nsid.get(hostNetns))
  if (known !== undefined) return { linkNetnsId: known, steps: [] }
  const linkNetnsId = randomIndex()
  return { linkNetnsId, steps: [{ request: nsid.set(hostNetns, linkNetnsId) }] }
}

/**
 * Makes a link in the container on top of a master on the host (or in the container, with `linkInContainer`), with its
 * name and its alias: all in one datagram to the container's kernel. It is born under a name of its own, because the
 * kernel looks for it among the master's neighbours, too. Equivalent: `ip -n NS link add vethX link MASTER link-netnsid
 * HOST type KIND …; ip -n NS link set vethX name eth0`.
 * @param reasons what errors mean of this kind
 * @throws CniError, NetlinkError
 */
export const addLower = async (
  attachment: Attachment<LowerConf>,
  { master, kind, mac, mtu, inheritsMac }: LowerLink,
  reasons: Reasons,
): Promise<Made> => {
  const { container, undo, ifName, log } = attachment
  const carrier = master.up && master.carrier !== false
  if (!carrier) log.warn(`master ${master.name} ${master.up ? 'has no carrier' : 'is down'}: nothing passes`)
  for (let attempt = 1; ; attempt++) {
    const { linkNetnsId, steps } = await masterPlace(attachment)
    const name = vethName()
    const index = await freeIndex(container)
    const request = link.add({
      ...kind,
      name,
      index,
      link: master.index,
      linkNetnsId,
      address: inheritsMac ? undefined : mac || undefined,
      mtu,
    })
    try {
      await apply(container, undo, [
        ...steps,
        { request, undo: [`delete ${ifName}`, () => deleteLink(container, index)] },
        ...claim(attachment, index),
        ...(mac && inheritsMac ? [{ request: link.set(index, { address: mac }) }] : []),
      ])
      return { index, mac: mac || master.address, mtu, carrier }
    } catch (error) {
      const op = error instanceof NetlinkError ? error.op : undefined
      // Somebody else gave the host's namespace an identifier, or took this one or the number.
      const retry =
        steps.some((step) => step.request.op === op) ||
        (op === request.op && isErrno(error, 'EBUSY', 'EEXIST') && (await isTaken(attachment, index)))
      if (retry && attempt < TRIES) continue
      const explained = explainClaim(error, kind.kind, ifName, index)
      throw explained === error ? explainLink(error, kind.kind, master, reasons) : explained
    }
  }
}

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** Whether the kernel knows a kind of link; its module is loaded where it can be. Tried in an empty namespace. */
export const kernelHas = async (kind: link.KindOptions): Promise<boolean> => {
  using netns = Netns.create()
  using connection = netns.connect()
  try {
    await connection.run(link.add({ ...kind, name: 'probe' }))
    return true
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error
    // Without a lower interface it minds something else.
    return error.code !== 'EOPNOTSUPP'
  }
}

/** @throws CniError code 50 where the kernel can't make such links */
export const checkKind = async (kind: string): Promise<void> => {
  if (!(await kernelHas({ kind })))
    throw notAvailable(`this kernel makes no ${kind} links`, `load its module: modprobe ${moduleOf(kind)}`)
}

/**
 * @param chained whether an earlier plugin of the chain may name the master, so that there need be no default route
 * @returns the master; null where it can't be known without a container
 * @throws CniError code 50 where the kernel can't make such links, or the master is missing, down or without a carrier
 */
export const checkLower = async (
  { conf, host }: Context<LowerConf>,
  kind: string,
  chained = false,
): Promise<BriefLink | null> => {
  await checkKind(kind)
  // One in a container can only be looked for with the container.
  if (conf.linkInContainer) return null
  if (chained && conf.master === '' && (await defaultInterface(host)) === undefined) return null
  let master: BriefLink
  try {
    master = await lookUpMaster(host, conf.master)
  } catch (error) {
    if (!(error instanceof CniError)) throw error
    throw notAvailable(error.msg, error.details)
  }
  if (master.type !== 'ether')
    throw notAvailable(
      `master ${master.name} can carry no ${kind}`,
      `it is no Ethernet interface (${master.type})`,
    )
  if (!master.up) throw notAvailable(`master ${master.name} is down`, `ip link set ${master.name} up`)
  if (master.carrier === false)
    throw notAvailable(`master ${master.name} has no carrier`, 'look at its cable, or at its peer')
  return master
}
