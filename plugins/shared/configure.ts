/**
 * Addresses and routes of a result on the container's interface: what every interface plugin does after it has made
 * its link. Everything goes as requests of one batch, and all of it goes away with the link.
 */
import { CniError, codes, invalidConfig } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import type { IpConfig, Route } from '../../cni/types.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { withoutAdvertised } from '../../ipam/advertised-routes.ts'
import {
  address,
  familyOf,
  formatCidr,
  link,
  network,
  parseCidr,
  type Request,
  route,
  waitForAddress,
} from '../../netlink/index.ts'
import { containerNetns } from './netns.ts'
import { giveBack, preferSysctls } from './sysctl.ts'

/** Milliseconds for duplicate address detection: it takes one second and a random part of another. */
const DAD_TIMEOUT = 10_000

export interface Configuration {
  /** Index and name of the interface in the container. */
  readonly index: number
  readonly name: string
  readonly ips: readonly IpConfig[]
  readonly routes: readonly Route[]
  /** Whether IPv6 addresses are to be probed before use. */
  readonly dad: boolean
  /** False: without waiting for the outcome, where nothing passes the interface now. Default true. */
  readonly wait?: boolean | undefined
  /** Whether IPv4 addresses are announced when the interface comes up (gratuitous ARP). Default true. */
  readonly arpNotify?: boolean | undefined
  /** The same of IPv6 addresses. Default false. */
  readonly announce?: boolean | undefined
  /** Further requests, when the interface is up: before the routes, and after them. */
  readonly before?: readonly Request<void>[] | undefined
  readonly after?: readonly Request<void>[] | undefined
}

/** A destination as the kernel keeps it: host bits cleared. */
const canonical = (dst: string): string => {
  const parsed = parseCidr(dst)
  if (!parsed)
    throw invalidConfig(`route dst: expected an address with a prefix length, got ${JSON.stringify(dst)}`)
  return formatCidr({ ip: network(parsed), prefix: parsed.prefix })
}

/** A route with its gateway filled in. */
export interface InstalledRoute extends Route {
  readonly dst: string
}

/**
 * The routes as they are installed: without a gateway of their own they go over the first one of their family; exact
 * repetitions are left out (the kernel would refuse them).
 */
export const installedRoutes = (ips: readonly IpConfig[], routes: readonly Route[]): InstalledRoute[] => {
  const gateways = new Map<4 | 6, string>()
  for (const { address: own, gateway } of ips)
    if (gateway !== undefined && !gateways.has(familyOf(own))) gateways.set(familyOf(own), gateway)
  const seen = new Set<string>()
  return routes.flatMap((wanted) => {
    const dst = canonical(wanted.dst)
    const gw = wanted.gw ?? gateways.get(familyOf(dst))
    const key = [dst, gw, wanted.priority || 0, wanted.table || 254].join(' ')
    if (seen.has(key)) return []
    seen.add(key)
    const { mtu, advmss, priority, table, scope } = wanted
    return [{ dst, gw, mtu, advmss, priority, table, scope }]
  })
}

const toRequest = (index: number, wanted: InstalledRoute): Request<void> =>
  route.add({
    dst: wanted.dst,
    gateway: wanted.gw,
    index,
    // Several routes to one destination are wanted as the kernel makes them without NLM_F_EXCL: IPv6 ones join.
    mode: 'create',
    scope: wanted.scope ?? 'global',
    priority: wanted.priority || undefined,
    table: wanted.table || undefined,
    metrics:
      wanted.mtu || wanted.advmss
        ? { mtu: wanted.mtu || undefined, advmss: wanted.advmss || undefined }
        : undefined,
  })

/**
 * An IPv6 route that is there already is no error: a router may advertise itself at this moment, and DHCPv6 has reported
 * the route that the kernel makes then.
 */
const toStep = (index: number, wanted: InstalledRoute): Step => ({
  request: toRequest(index, wanted),
  tolerate: familyOf(wanted.dst) === 6 ? ['EEXIST'] : undefined,
})

/**
 * The steps that give the interface its addresses, bring it up and install its routes, in that order: gratuitous ARP
 * (`arp_notify`) goes out for addresses that are there when the interface comes up.
 */
const configureSteps = (
  { index, ips, dad, arpNotify = true, before = [], after = [] }: Configuration,
  routes: readonly InstalledRoute[],
): Step[] => {
  const steps = (requests: readonly Request<void>[]): Step[] => requests.map((request) => ({ request }))
  return [
    ...steps(arpNotify ? [link.set(index, { afSpec: { inet: { conf: { arpNotify: 1 } } } })] : []),
    ...steps(
      ips.map(({ address: own }) =>
        familyOf(own) === 4
          ? address.add({ index, address: own, broadcast: 'auto' })
          : address.add({ index, address: own, flags: dad ? {} : { nodad: true } }),
      ),
    ),
    ...steps([link.set(index, { up: true }), ...before]),
    ...routes.map((wanted) => toStep(index, wanted)),
    ...steps(after),
  ]
}

/**
 * The settings that IPv6 addresses of the interface need before it comes up.
 * @throws Error where IPv6 addresses were given and the kernel does not let IPv6 be used
 */
export const prepareIpv6 = (
  attachment: Attachment<unknown>,
  { name, ips, dad, announce }: Omit<Configuration, 'index'>,
): void => {
  const { undo, log } = attachment
  const netns = containerNetns(attachment)
  const own = `net/ipv6/conf/${name}`
  if (ips.some(({ address: one }) => familyOf(one) === 6)) {
    const writes = [
      { name: 'net/ipv6/conf/lo/disable_ipv6', value: '0' },
      { name: `${own}/disable_ipv6`, value: '0' },
      { name: `${own}/keep_addr_on_down`, value: '1' },
    ]
    const [loopback, ...others] = netns.writeSysctls(writes)
    if (typeof loopback === 'string' && loopback !== '0')
      undo.push('give lo its IPv6 setting back', giveBack(netns, writes[0]!.name, loopback))
    for (const [i, outcome] of [loopback, ...others].entries())
      if (outcome instanceof Error)
        throw new Error(
          `an IPv6 address was assigned, but IPv6 can not be enabled: ${writes[i]!.name}: ${outcome.message}`,
          { cause: outcome },
        )
  }
  preferSysctls(netns, log, [
    { name: `${own}/accept_dad`, value: dad ? '1' : '0' },
    ...(dad ? [{ name: `${own}/enhanced_dad`, value: '1' }] : []),
    ...(announce ? [{ name: `${own}/ndisc_notify`, value: '1' }] : []),
  ])
}

/** @throws CniError where another host has one of the addresses; TimeoutError */
const waitForDad = async (attachment: Attachment<unknown>, index: number): Promise<void> => {
  const { container, signal } = attachment
  const settled = await waitForAddress(
    { netns: containerNetns(attachment), connection: container },
    index,
    // An address that failed stays tentative for ever.
    (all) => all.every(({ flags }) => !flags.tentative || flags.dadfailed),
    { timeout: DAD_TIMEOUT, signal },
  )
  const failed = settled.find(({ flags }) => flags.dadfailed)
  if (failed)
    throw new CniError({
      code: codes.internal,
      msg: `duplicate address detection failed for ${failed.address}`,
      details: 'another host on the segment uses this address',
    })
}

/**
 * Gives the container's interface its addresses and routes, and brings it up.
 * @throws CniError, NetlinkError, TimeoutError
 */
export const configureLink = async (attachment: Attachment<unknown>, setup: Configuration): Promise<void> => {
  const { container, undo, ipam } = attachment
  const { index, ips, routes, wait = true } = setup
  prepareIpv6(attachment, setup)
  const missing = await withoutAdvertised(container, index, installedRoutes(ips, routes))
  // DHCPv6 has asked the link already, unless it was told not to.
  const dad = setup.dad && ipam?.type !== 'dhcp'
  await apply(container, undo, configureSteps({ ...setup, dad }, missing))
  if (dad && wait && ips.some(({ address: own }) => familyOf(own) === 6)) await waitForDad(attachment, index)
}
