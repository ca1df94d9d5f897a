/** `tap`: an interface whose other end is a program that opens it, a virtual machine mostly. */
import * as z from 'zod/mini'
import { CniError, codes, invalidConfig } from '../cni/error.ts'
import type { Attachment } from '../cni/plugin.ts'
import { commonConf, flag, int, mac, text, uint32 } from '../cni/schema.ts'
import { apply } from '../cni/undo.ts'
import { isErrno, type Link, link, Netns, SocketError, tun } from '../netlink/index.ts'
import { checkFacts, type Fact, findLink } from './shared/check.ts'
import { claim, defineContainerLink, type Made, nameTaken } from './shared/container-link.ts'
import { randomIndex, randomMac } from './shared/identity.ts'
import { macOf } from './shared/mac.ts'
import { containerNetns } from './shared/netns.ts'
import { checkLabel } from './shared/selinux.ts'
import { deleteLink } from './shared/veth.ts'

/** Every key of the tap plugin. */
export const tapConf = z.object({
  ...commonConf,
  /** Several queues, each with a program of its own at its end. */
  multiQueue: flag,
  /** 0: 1500. */
  mtu: z._default(int, 0),
  mac: z.optional(mac),
  /** Ids of the user and the group that may open it without CAP_NET_ADMIN. */
  owner: z.optional(uint32),
  group: z.optional(uint32),
  /** SELinux label of the interface. */
  selinuxContext: z._default(text, ''),
  /** A bridge in the container that it becomes a port of. */
  bridge: z._default(text, ''),
})
type TapConf = z.infer<typeof tapConf>

interface Plan {
  readonly mac: string
  readonly bridge: Link | undefined
}

/** An Ethernet header less than what an IPv4 packet can be; drivers/net/tun.c. */
const MIN_MTU = 68
const MAX_MTU = 65_535 - 14
const DEFAULT_MTU = 1500
const TRIES = 10
/** (uid_t) -1 means nobody to the kernel. */
const NOBODY = 0xffff_ffff

/** @throws CniError code 7 */
const checkConf = ({ mtu, owner, group, selinuxContext }: TapConf): void => {
  if (mtu !== 0 && (mtu < MIN_MTU || mtu > MAX_MTU))
    throw invalidConfig(`invalid MTU ${mtu}, must be 0 or [${MIN_MTU}, ${MAX_MTU}]`)
  for (const [key, id] of Object.entries({ owner, group }))
    if (id === NOBODY) throw invalidConfig(`invalid ${key} ${NOBODY}: leave it out for none`)
  checkLabel(selinuxContext)
}

/** @throws CniError code 7 */
const findBridge = async ({ conf, container }: Attachment<TapConf>): Promise<Link | undefined> => {
  const { bridge: name } = conf
  if (name === '') return undefined
  const found = await findLink(container, name)
  if (!found)
    throw invalidConfig(
      `failed to lookup bridge ${JSON.stringify(name)}: Link not found`,
      'it has to be in the container',
    )
  if (found.kind !== 'bridge')
    throw invalidConfig(
      `${JSON.stringify(name)} already exists but is not a bridge`,
      `it is: ${found.kind ?? 'hardware'}`,
    )
  return found
}

/** Says in words that help why there can be no tap. */
const explain = (error: unknown): unknown => {
  const labelling = error instanceof SocketError && error.syscall === 'setcon'
  const why = labelling
    ? 'SELinux does not let this process take on the label: its policy has to know it, and to allow setcurrent and dyntransition'
    : isErrno(error, 'ENOENT', 'ENODEV', 'ENXIO')
      ? `load the module tun (modprobe tun), and see that ${tun.TUN_DEVICE} is there`
      : isErrno(error, 'EPERM', 'EACCES')
        ? `${tun.TUN_DEVICE} is not for this process: look at its capabilities (CAP_NET_ADMIN) and its devices cgroup`
        : undefined
  if (!why) return error
  const { message } = error as Error
  return new CniError({ code: codes.internal, msg: message, details: why, cause: error })
}

/** The device, open: not yet to stay. @throws CniError, SocketError */
const open = async (attachment: Attachment<TapConf>): Promise<{ tap: tun.Tap; index: number }> => {
  const { conf, container, ifName } = attachment
  const { multiQueue, owner, group, selinuxContext } = conf
  const label = selinuxContext || undefined
  const netns = containerNetns(attachment)
  for (let attempt = 1; ; attempt++) {
    const index = randomIndex()
    try {
      return { tap: tun.createTap(netns, { name: ifName, index, multiQueue, owner, group, label }), index }
    } catch (error) {
      if (!isErrno(error, 'EBUSY')) throw explain(error)
      if (await findLink(container, ifName)) throw nameTaken('tap', ifName, error)
      if (attempt === TRIES) throw error
    }
  }
}

/** Nothing is left of a process that ends before `keep`; whatever stays has its alias. */
const make = async (attachment: Attachment<TapConf>, { mac: wanted, bridge }: Plan): Promise<Made> => {
  const { conf, container, undo, ifName } = attachment
  const { tap, index } = await open(attachment)
  undo.push(`delete ${ifName}`, () => deleteLink(container, index))
  try {
    const mac = wanted || randomMac()
    const mtu = conf.mtu || DEFAULT_MTU
    await apply(container, undo, [
      ...claim(attachment, index),
      { request: link.set(index, { address: mac, mtu, master: bridge?.index }) },
    ])
    tap.keep()
    return { index, mac, mtu, carrier: false }
  } finally {
    tap.close()
  }
}

/** What the kernel says of it, against what the configuration asks for. @throws CniError */
const check = async (attachment: Attachment<TapConf>, found: Link): Promise<void> => {
  const { conf } = attachment
  const data = found.kind === 'tun' ? found.data : undefined
  const bridge = await findBridge(attachment)
  const facts: readonly Fact[] = [
    ['type', data?.type, 'tap'],
    ['persistence', data?.persist, true],
    ['multi queue', data?.multiQueue, conf.multiQueue],
    ['owner', data?.owner, conf.owner],
    ['group', data?.group, conf.group],
    ['bridge', found.master, bridge?.index],
  ]
  checkFacts(found, facts)
}

/** The tap plugin. */
export const tap = defineContainerLink({
  type: 'tap',
  kind: 'tun',
  conf: tapConf,
  // Behind it is nobody before a program opens it: probes would get no answer.
  shared: () => false,
  async plan(attachment): Promise<Plan> {
    const { conf } = attachment
    const mac = macOf(attachment)
    checkConf(conf)
    // Read now: what is wrong with IPAM is to be refused here, too.
    void attachment.ipam
    return { mac, bridge: await findBridge(attachment) }
  },
  make,
  check,
  async status({ conf }) {
    try {
      checkConf(conf)
      using netns = Netns.create()
      tun.createTap(netns, { name: 'probe' }).close()
    } catch (error) {
      const { msg, details } = CniError.from(explain(error))
      throw new CniError({ code: codes.notAvailable, msg, details, cause: error })
    }
  },
})
