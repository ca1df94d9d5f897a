import { type Space, space } from '../space.ts'
import { eventually } from '../wait.ts'

export interface SegmentOptions {
  /** The server's address and prefix length; null for none. Default `10.77.0.1/24`. */
  readonly address4?: string | null | undefined
  /** The same for IPv6. Default `fd77::1/64`. */
  readonly address6?: string | null | undefined
}

export interface PlugOptions {
  /** Hardware address of the host's side. Default: the kernel's choice. */
  readonly mac?: string | undefined
  /** Whether the host's side probes for duplicates of its IPv6 addresses, which takes a second or two. Default false. */
  readonly dad?: boolean | undefined
  readonly mtu?: number | undefined
}

/** One port of a segment. */
export interface Plug {
  /** The interface on the segment's side, e.g. `port1`. */
  readonly port: string
  /** The interface on the host's side. */
  readonly name: string
  /** Its hardware address. */
  readonly mac: string
  /** Pulls the cable (false) or puts it in again: the host's side loses its carrier, and gets it back. */
  carrier(on: boolean): Promise<void>
  /** Removes both ends. */
  unplug(): Promise<void>
}

/** The hardware address of a segment's server side, so that its link-local address is known: {@link linkLocal}. */
export const serverMac = '02:77:00:00:00:01'
/** The link-local address of a segment's server side: what router advertisements come from. */
export const linkLocal = 'fe80::77:ff:fe00:1'

/** Until the kernel has given the interface its link-local address, which servers of DHCPv6 bind to. */
const usable = (space: Space, name: string): Promise<boolean> =>
  eventually(`${name} is usable`, async () => {
    const [link] = await space.ipJson<{ operstate: string; addr_info: { tentative?: true }[] }>(
      'addr',
      'show',
      name,
    )
    return link!.operstate === 'UP' && !link!.addr_info.some(({ tentative }) => tentative)
  })

/** A LAN in a namespace of its own: a bridge, whose own interface `lan0` is the server's side. */
export class Segment {
  /** The namespace that the servers run in. */
  readonly space: Space
  /** What servers listen at. */
  readonly interface: string = 'lan0'
  #ports = 0

  /** @internal */
  constructor(space: Space) {
    this.space = space
  }

  /** A veth pair between the LAN and the interface `name` in `host`, both ends up. */
  async plug(host: Space, name: string, { mac, dad = false, mtu }: PlugOptions = {}): Promise<Plug> {
    const port = `port${++this.#ports}`
    const common = mtu === undefined ? [] : ['mtu', `${mtu}`]
    const own = mac === undefined ? [] : ['address', mac]
    const peer = ['name', name, ...own, ...common, 'netns', `${host.pid}`]
    await this.space.ip('link', 'add', port, ...common, 'type', 'veth', 'peer', ...peer)
    await this.space.ip('link', 'set', port, 'master', this.interface, 'up')
    const probes = `echo 0 > "/proc/sys/net/ipv6/conf/$1/accept_dad"\n`
    await host.must('sh', ['-ec', `${dad ? '' : probes}ip link set "$1" up`, 'sh', name])
    if (!dad) await usable(host, name)
    const [link] = await host.ipJson<{ address: string }>('link', 'show', name)
    return {
      port,
      name,
      mac: link!.address,
      carrier: (on) => this.space.ip('link', 'set', port, on ? 'up' : 'down'),
      unplug: () => this.space.ip('link', 'del', port),
    }
  }

  /** Gives the server's side these addresses in the place of those it has. A server has to be restarted to know. */
  async renumber({ address4, address6 }: SegmentOptions): Promise<void> {
    if (address4 !== undefined) await this.space.ip('-4', 'addr', 'flush', 'dev', this.interface)
    if (address4) await this.space.ip('addr', 'add', address4, 'dev', this.interface)
    if (address6 !== undefined)
      await this.space.ip('-6', 'addr', 'flush', 'dev', this.interface, 'scope', 'global')
    if (address6) await this.space.ip('addr', 'add', address6, 'dev', this.interface, 'nodad')
  }
}

/**
 * A LAN that is up, has nobody on it but the server's side, and passes every frame to every port it is meant for.
 * Closed at the end of the test, or of the file where it was made in `beforeAll`.
 */
export const segment = async (options: SegmentOptions = {}): Promise<Segment> => {
  const lan = await space()
  const script = [
    'ip link set lo up',
    // The ports are the LAN's cables: no addresses, no solicitations of their own.
    'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6',
    // What is bridged is none of the IP layer's business, whatever the machine has set.
    'for call in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $call ] || echo 0 > $call; done',
    // No snooping: without a querier it would only hold back multicast that nobody has asked for yet.
    `ip link add lan0 address ${serverMac} type bridge mcast_snooping 0`,
    'echo 0 > /proc/sys/net/ipv6/conf/lan0/accept_dad',
    'echo 0 > /proc/sys/net/ipv6/conf/lan0/accept_ra',
    // What advertises itself has to say that it is a router when it is asked for its MAC, or is none to hosts.
    'echo 1 > /proc/sys/net/ipv6/conf/lan0/forwarding',
    'echo 0 > /proc/sys/net/ipv6/conf/lan0/disable_ipv6',
    // A bridge without a port has no carrier, and so no link-local address to serve from.
    'ip link add anchor0 type veth peer name anchor1',
    'ip link set anchor0 master lan0 up',
    'ip link set anchor1 up',
    'ip link set lan0 up',
  ]
  await lan.must('sh', ['-ec', script.join('\n')])
  const made = new Segment(lan)
  await made.renumber({ address4: '10.77.0.1/24', address6: 'fd77::1/64', ...options })
  await usable(lan, 'lan0')
  return made
}
