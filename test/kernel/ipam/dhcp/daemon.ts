/** The real keeper and the real plugins, as processes of a node in miniature. */
import { existsSync, readdirSync } from 'node:fs'
import type { JsonObject } from '../../../../cni/types.ts'
import { RemoteKeeper } from '../../../../ipam/dhcp/rpc/remote.ts'
import { segment } from '../../../support/dhcp/segment.ts'
import { Server } from '../../../support/dhcp/server.ts'
import { binDirs, type PrintedError, type PrintedResult } from '../../../support/plugin.ts'
import { type Finished, plainEnv } from '../../../support/program.ts'
import { type Container, type PrivateHost, privateHost } from '../../../support/space.ts'

export const SOCKET = '/run/cni/dhcp.sock'

/** `dhcp daemon` on a host. What it prints is its log. */
export class Daemon extends Server {
  readonly #host: PrivateHost

  constructor(host: PrivateHost) {
    super(host, 'dhcp-daemon')
    this.#host = host
  }

  /** @param under a program that runs it, and its arguments: strace */
  async start(under: readonly string[] = [], ready = /DHCP: ready/): Promise<void> {
    const [file, ...args] = [
      ...under,
      `${binDirs.ours}/dhcp`,
      ...['daemon', '-socketpath', SOCKET, '-timeout', '1s'],
    ]
    await this.launch({ file: file!, args, ready })
  }

  get keeper(): RemoteKeeper {
    return new RemoteKeeper(this.#host.file(SOCKET))
  }

  /** The files of its journal. */
  noted(): string[] {
    const folder = this.#host.file(SOCKET.replace('.sock', '.leases'))
    return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : []
  }
}

export interface Executed extends Finished {
  readonly result: PrintedResult | null
  readonly error: PrintedError | null
}

export interface Call {
  readonly container: Container
  readonly containerId?: string
  readonly prevResult?: PrintedResult | null
  readonly ipam?: JsonObject
}

/** A host on a segment; its plugins are executed, and find the keeper by its socket. */
export const daemonNode = async () => {
  const [host, lan] = await Promise.all([privateHost(), segment()])
  await lan.plug(host, 'lan')
  const run = async (
    command: string,
    { container, containerId = 'cid-1', prevResult, ipam = {} }: Call,
    more: JsonObject = {},
  ): Promise<Executed> => {
    const conf = {
      cniVersion: '1.1.0',
      name: 'net',
      type: 'macvlan',
      master: 'lan',
      ipam: { type: 'dhcp', daemonSocketPath: SOCKET, ...ipam },
      ...(prevResult ? { prevResult } : {}),
      ...more,
    }
    const finished = await host.run(`${binDirs.ours}/macvlan`, [], {
      timeout: 60_000,
      input: JSON.stringify(conf),
      env: {
        ...plainEnv,
        CNI_COMMAND: command,
        ...(command === 'GC' || command === 'STATUS'
          ? {}
          : { CNI_CONTAINERID: containerId, CNI_NETNS: container.sandbox, CNI_IFNAME: 'eth0' }),
        CNI_PATH: binDirs.ours,
      },
    })
    const printed = finished.stdout === '' ? null : JSON.parse(finished.stdout)
    const good = finished.status === 0
    return { ...finished, result: good ? printed : null, error: good ? null : printed }
  }
  return { host, segment: lan, daemon: new Daemon(host), run }
}
