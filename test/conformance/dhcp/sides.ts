/** A node whose leases are kept by Go's daemon or by ours, with either's plugins, on a LAN of its own. */
import { connect } from 'node:net'
import type { JsonObject } from '../../../cni/types.ts'
import { segment } from '../../support/dhcp/segment.ts'
import { Server } from '../../support/dhcp/server.ts'
import { binDirs, type PluginRun, type PrintedResult, runPlugin } from '../../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { goDir, isNew } from '../bridge/sides.ts'

export type Which = 'go' | 'ours'
export const both: readonly Which[] = ['go', 'ours']

/** Folders of executables: whose plugins, whose daemon. */
export const dirOf: Readonly<Record<Which, string>> = { go: goDir, ours: binDirs.ours }

/** Where both listen by default; each node has a `/run` of its own. */
export const SOCKET = '/run/cni/dhcp.sock'

/** Times that suit a server next door: a message is sent again after a second, an ADD gives up after some twenty. */
export const patient: readonly string[] = ['-timeout', '1s', '-resendmax', '8s', '-resendtimeout', '20s']
/** Both give up within seconds. */
export const hasty: readonly string[] = ['-timeout', '200ms', '-resendmax', '1s', '-resendtimeout', '2s']

/** The flags without those that the daemon has not: Go's of 2022 gives up by `-resendmax` alone. */
const known = (which: Which, flags: readonly string[]): readonly string[] => {
  const at = flags.indexOf('-resendtimeout')
  return which === 'ours' || isNew || at < 0 ? flags : flags.toSpliced(at, 2)
}

/** `dhcp daemon` of either. What it prints is its log. */
export class PeerDaemon extends Server {
  readonly #host: PrivateHost
  readonly #file: string
  readonly #flags: readonly string[]

  constructor(host: PrivateHost, which: Which, flags: readonly string[] = patient) {
    super(host, `dhcp-${which}`)
    this.#host = host
    this.#file = `${dirOf[which]}/dhcp`
    this.#flags = known(which, flags)
  }

  /** Starts it, and waits until it listens. @throws Error with what it printed, where it ends before */
  async start(): Promise<void> {
    const from = this.log.length
    const script = 'mkdir -p /run/cni && echo "# begins" && exec "$@"'
    // Go's daemon says nothing when it is ready.
    await this.launch({
      file: 'sh',
      args: ['-ec', script, 'sh', this.#file, 'daemon', '-socketpath', SOCKET, ...this.#flags],
      ready: /^# begins$/,
    })
    await eventually('the daemon listens', async () => this.pid === null || (await this.#answers()), 20_000)
    if (this.pid === null) throw new Error(this.log.lines.slice(from).join('\n'))
  }

  #answers(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = connect(this.#host.file(SOCKET))
      socket.on('error', () => resolve(false))
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
    })
  }
}

/** One execution of a plugin. */
export interface Call {
  readonly container: Container
  /** Default `cid-1`. */
  readonly containerId?: string
  readonly ifName?: string
  /** CNI_ARGS. */
  readonly args?: string
  readonly ipam?: JsonObject
  /** Further keys of the configuration. */
  readonly conf?: JsonObject
  readonly prevResult?: PrintedResult | null
  /** Which executable is run. Default: the configuration's `type`. */
  readonly plugin?: string
  /** Whose plugin. Default: the daemon's. */
  readonly by?: Which
  /** Milliseconds. Default 60 000. */
  readonly timeout?: number
}

/** So that a server gives both the same address: dnsmasq's choice goes by it. */
export const MAC = '02:00:00:00:00:07'

export interface SideOptions {
  /** Flags of the daemon. */
  readonly flags?: readonly string[]
}

/** A node on a LAN with nobody else; its daemon is not started yet. */
export const dhcpSide = async (which: Which, { flags }: SideOptions = {}) => {
  const [host, lan] = await Promise.all([privateHost(), segment()])
  await lan.plug(host, 'lan')
  const daemon = new PeerDaemon(host, which, flags)
  const run = (command: string, call: Call): Promise<PluginRun> => {
    const { container, containerId, ifName, args, ipam, conf, prevResult, by = which } = call
    return runPlugin({
      host,
      binDir: dirOf[by],
      type: call.plugin ?? String(conf?.type ?? 'macvlan'),
      command,
      containerId,
      ifName,
      args,
      netns: container,
      timeout: call.timeout ?? 60_000,
      conf: {
        cniVersion: '1.0.0',
        name: 'net',
        type: 'macvlan',
        master: 'lan',
        ...conf,
        ipam: { type: 'dhcp', ...ipam },
        ...(prevResult ? { prevResult } : {}),
      },
    })
  }
  /** The same, where it has to succeed. */
  const must = async (command: string, call: Call): Promise<PrintedResult> => {
    const { status, stdout, stderr, result } = await run(command, call)
    if (status !== 0)
      throw new Error(`${which} ${command}: ${stdout}${stderr}\n${daemon.log.lines.join('\n')}`)
    return result ?? { cniVersion: '' }
  }
  return { which, host, lan, daemon, run, must }
}
export type DhcpSide = Awaited<ReturnType<typeof dhcpSide>>
