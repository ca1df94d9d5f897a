/** The veth pair of a container, each end born in its place by one message. Bridge and ptp. */
import { CniError } from '../../cni/error.ts'
import type { Attachment } from '../../cni/plugin.ts'
import { apply, type Step } from '../../cni/undo.ts'
import { type Connection, isErrno, link, NetlinkError } from '../../netlink/index.ts'
import { ownerAlias, portMac, randomIndex, randomMac, vethName } from './identity.ts'
import { containerNetns } from './netns.ts'
import { preferSysctls } from './sysctl.ts'

export interface VethOptions {
  /** Bytes, of both ends; 0: the kernel's default. */
  readonly mtu: number
  /** Of the container's end; empty: random. */
  readonly mac: string
  /** Index of the bridge that the host's end becomes a port of. */
  readonly master?: number | undefined
  /**
   * Whether the host's end probes its IPv6 addresses before use. As long as its link-local one is not, the host can't ask
   * for the container's MAC when it forwards. Default: as the host's setting says.
   */
  readonly hostDad?: boolean | undefined
  /** Further requests for the host's end, which they know by its name. */
  readonly steps?: ((hostName: string) => readonly Step[]) | undefined
}

export interface Veth {
  /** The host's end, which is up. */
  readonly hostName: string
  readonly hostIndex: number
  readonly hostMac: string
  /** Index of the container's end, which is down. */
  readonly index: number
  readonly mac: string
}

/** In a new namespace only the loopback has an index. */
const FIRST_INDEX = 2
const TRIES = 10
/**
 * Of an end, in each direction. Since Linux 5.15 a veth is made with as many as the host may have processors; then all but
 * the first are taken out of use, and a grace period is waited for (veth_init_queues).
 */
export const QUEUES = 1

/** Deletes a link; that there is none (any more) is no error. */
export const deleteLink = async (connection: Connection, which: string | number): Promise<void> => {
  try {
    await connection.run(link.delete(which))
  } catch (error) {
    if (!isErrno(error, 'ENODEV')) throw error
  }
}

/**
 * A link that needs no address of its own does without IPv6's link-local one, and so without its probes, reports and
 * solicitations. Where it has no IPv6 (a kernel without, an MTU below 1280), it gets none anyway. Equivalent: `ip link set NAME addrgenmode none`.
 */
export const withoutLinkLocal = (which: string | number): Step => ({
  request: link.set(which, { afSpec: { inet6: { addrGenMode: 'none' } } }),
  tolerate: ['EAFNOSUPPORT'],
})

/** An index for the container's end that is free now. @throws CniError where its name is taken */
const freeIndex = async ({ container, ifName }: Attachment<unknown>, hostName: string): Promise<number> => {
  const links = await container.run(link.list())
  if (links.some(({ name, altNames }) => name === ifName || altNames.includes(ifName)))
    throw new CniError({
      code: 999,
      msg: `container veth name (${JSON.stringify(ifName)}) peer provided (${JSON.stringify(hostName)}) already exists`,
      details: `the container has an interface ${ifName} already; CNI_IFNAME has to name a new one`,
    })
  return Math.max(FIRST_INDEX, ...links.map(({ index }) => index + 1))
}

/**
 * Makes the pair. The index of the container's end is chosen here, so that addresses and routes can name it without
 * asking; where the guess is taken (EEXIST, EBUSY) a free one is looked up. Equivalent: `ip link add vethX master BR up
 * numtxqueues 1 numrxqueues 1 type veth peer name eth0 numtxqueues 1 numrxqueues 1 netns NS`, and of a port
 * `ip link set vethX addrgenmode none`.
 * @throws CniError, NetlinkError
 */
export const addVeth = async (attachment: Attachment<unknown>, options: VethOptions): Promise<Veth> => {
  const { host, hostNetns, network, ifName, undo, log } = attachment
  const netns = containerNetns(attachment)
  const mac = options.mac || randomMac()
  const mtu = options.mtu || undefined
  const alias = ownerAlias(network, attachment)
  let index = FIRST_INDEX
  for (let attempt = 1; ; attempt++) {
    const hostName = vethName()
    // The kernel heeds the wish for the peer's index only where the link has one of its own (veth_newlink).
    const hostIndex = randomIndex()
    const hostMac = portMac()
    const request = link.add({
      kind: 'veth',
      name: hostName,
      index: hostIndex,
      address: hostMac,
      mtu,
      numTxQueues: QUEUES,
      numRxQueues: QUEUES,
      master: options.master,
      up: true,
      data: {
        peer: { name: ifName, index, address: mac, mtu, numTxQueues: QUEUES, numRxQueues: QUEUES, netns },
      },
    })
    try {
      await apply(host, undo, [
        { request, undo: [`delete ${hostName}`, () => deleteLink(host, hostName)] },
        ...(alias ? [{ request: link.set(hostName, { alias }) }] : []),
        // What comes in by a port is the bridge's. In time: without a carrier, which comes with the other end, it has none.
        ...(options.master === undefined ? [] : [withoutLinkLocal(hostName)]),
        ...(options.steps?.(hostName) ?? []),
      ])
    } catch (error) {
      const taken =
        error instanceof NetlinkError && error.op === request.op && isErrno(error, 'EEXIST', 'EBUSY')
      if (attempt === TRIES || !taken) throw error
      index = await freeIndex(attachment, hostName)
      continue
    }
    const settings = `net/ipv6/conf/${hostName}`
    preferSysctls(hostNetns, log, [
      // A container must not give the host routes by router advertisements.
      { name: `${settings}/accept_ra`, value: '0' },
      // In time: without a carrier, which comes with the other end, there are no addresses to probe.
      ...(options.hostDad === false ? [{ name: `${settings}/accept_dad`, value: '0' }] : []),
    ])
    return { hostName, hostIndex, hostMac, index, mac }
  }
}
