/** A node in miniature whose plugins run in this process: a private host, containers, and calls by verb. */
import { onTestFinished } from 'vitest'
import { type Action, dispatch, type Invocation } from '../../../cni/dispatch.ts'
import { CniError } from '../../../cni/error.ts'
import type { Logger, Plugins } from '../../../cni/plugin.ts'
import type { Host } from '../../../cni/session.ts'
import type { JsonObject } from '../../../cni/types.ts'
import { Netns } from '../../../netlink/netns.ts'
import { defineBridge } from '../../../plugins/bridge/index.ts'
import { plugins } from '../../../plugins/index.ts'
import { binDirs, type PrintedResult } from '../../support/plugin.ts'
import { plainEnv } from '../../support/program.ts'
import { type Container, type PrivateHost, privateHost, type Space } from '../../support/space.ts'

export interface NodeCall extends Partial<Omit<Invocation, 'verb' | 'conf'>> {
  /** Where the interface is to be. Default: nowhere, as after a reboot. */
  readonly container?: Container | undefined
  readonly signal?: AbortSignal | undefined
  /** Gets the result of an ADD, which fails where it throws. */
  readonly deliver?: (() => void | Promise<void>) | undefined
  /** Passed on in the configuration. */
  readonly prevResult?: PrintedResult | undefined
}

/** Where ADDs of bridge find what they lock. */
export const locksFolder = '/run/linkwright/bridge'

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null

export class Node {
  readonly host: PrivateHost
  readonly netns: Netns
  /** Ours, with what they keep below the host's `/run`. */
  readonly plugins: Plugins
  /** What plugins have warned about. */
  readonly warnings: string[] = []
  /** Further options of every call. */
  options: Partial<Host> = {}

  /** @internal */
  constructor(host: PrivateHost) {
    this.host = host
    this.netns = Netns.open(host.path)
    const bridge = defineBridge({ locks: host.file(locksFolder) })
    this.plugins = new Map([...plugins, [bridge.type, bridge]])
  }

  /** The configuration as it has to be for a process outside of the host's mount namespace. */
  #conf(conf: JsonObject, prevResult: PrintedResult | undefined): JsonObject {
    const { ipam } = conf
    const local = isObject(ipam) && ipam.type === 'host-local'
    return {
      cniVersion: '1.1.0',
      name: 'net',
      type: 'bridge',
      ...conf,
      ...(local
        ? { ipam: { dataDir: this.host.file('/var/lib/cni/networks'), ...(ipam as JsonObject) } }
        : {}),
      ...(prevResult ? { prevResult: prevResult as unknown as JsonObject } : {}),
    }
  }

  /** One verb of the plugin that the configuration's `type` names. Default: bridge. @throws CniError */
  async call(verb: Action, conf: JsonObject, call: NodeCall = {}): Promise<PrintedResult | null> {
    const { container, prevResult, signal, deliver, ...more } = call
    const log: Logger = {
      debug: () => {},
      info: () => {},
      warn: (message) => this.warnings.push(message),
      error: (message) => this.warnings.push(message),
    }
    const invocation = {
      containerId: 'cid-1',
      ifName: 'eth0',
      netnsPath: container?.path ?? '',
      path: binDirs.go,
      ...more,
      verb,
      conf: this.#conf(conf, prevResult),
    }
    const plugin = (this.options.plugins ?? this.plugins).get(String(invocation.conf.type))
    if (!plugin) throw new Error(`there is no plugin ${invocation.conf.type}`)
    const host = { plugins: this.plugins, hostNetns: this.netns, environment: plainEnv, log, ...this.options }
    const added = await dispatch(plugin, invocation, host, { signal, deliver })
    return added ? (JSON.parse(JSON.stringify(added.json)) as PrintedResult) : null
  }

  /** ADD. */
  async add(conf: JsonObject, call: NodeCall): Promise<PrintedResult> {
    const result = await this.call('ADD', conf, call)
    if (!result) throw new Error('ADD gave no result')
    return result
  }
  async check(conf: JsonObject, call: NodeCall): Promise<void> {
    await this.call('CHECK', conf, call)
  }
  async del(conf: JsonObject, call: NodeCall): Promise<void> {
    await this.call('DEL', conf, call)
  }
}

/** A node that lasts as long as the running test. */
export const node = async (): Promise<Node> => {
  const host = await privateHost()
  // A new namespace has the machine's IPv4 settings.
  await host.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
  const made = new Node(host)
  onTestFinished(() => made.netns.close())
  return made
}

/** The CNI error of a call that has to fail. */
export const errorOf = async (call: Promise<unknown>): Promise<CniError> => {
  try {
    await call
  } catch (error) {
    if (error instanceof CniError) return error
    throw error
  }
  throw new Error('it succeeded')
}

/** For `deliver`: an ADD that does everything, and fails then. */
export const unheard = (): never => {
  throw new CniError({ code: 5, msg: 'nobody listens' })
}

/** The classic configuration. */
export const classic: JsonObject = {
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  ipam: { type: 'host-local', subnet: '10.22.0.0/16', routes: [{ dst: '0.0.0.0/0' }] },
}

/** The same with static addresses and without masquerade. */
export const fixed = (address: string, gateway?: string, more: JsonObject = {}): JsonObject => ({
  bridge: 'cni0',
  isGateway: true,
  ...more,
  ipam: { type: 'static', addresses: [gateway === undefined ? { address } : { address, gateway }] },
})

/** A link as `ip -d -j addr show` tells it. */
export interface PrintedLink {
  readonly ifindex: number
  readonly link_index?: number
  /** Of a veth whose other end is in the same namespace: its name. */
  readonly link?: string
  readonly ifname: string
  readonly address: string
  readonly mtu: number
  readonly flags: readonly string[]
  readonly operstate: string
  readonly master?: string
  readonly ifalias?: string
  readonly linkinfo?: {
    readonly info_kind?: string
    readonly info_data?: Readonly<Record<string, unknown>>
    readonly info_slave_data?: Readonly<Record<string, unknown>>
  }
  readonly addr_info: readonly {
    readonly family: string
    readonly local: string
    readonly prefixlen: number
    readonly broadcast?: string
    readonly scope: string
    readonly tentative?: boolean
    readonly dadfailed?: boolean
    readonly nodad?: boolean
  }[]
}

/** All links of a namespace, or the one of a name. */
export const links = (space: Space): Promise<PrintedLink[]> => space.ipJson('-d', 'addr', 'show')
export const linkOf = async (space: Space, name: string): Promise<PrintedLink> => {
  const found = (await links(space)).find(({ ifname }) => ifname === name)
  if (!found) throw new Error(`there is no ${name}`)
  return found
}

/** What an ADD may have changed of a namespace's links. */
export const factsOf = async (space: Space): Promise<unknown[]> =>
  (await links(space)).map(({ ifname, address, mtu, flags, operstate, master, addr_info }) => ({
    ...{ ifname, address, mtu, flags, operstate, master },
    addresses: addr_info.filter(({ scope }) => scope !== 'link'),
  }))

/** Addresses of a link, link-local ones left out, as `10.1.2.3/24`. */
export const addressesOf = async (space: Space, name: string): Promise<string[]> =>
  (await linkOf(space, name)).addr_info
    .filter(({ scope }) => scope !== 'link')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`)

/** The host's ends of veth pairs. */
export const vethsOf = async (space: Space): Promise<PrintedLink[]> =>
  (await links(space)).filter(({ linkinfo }) => linkinfo?.info_kind === 'veth')
