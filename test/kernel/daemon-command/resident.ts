/** `linkwright daemon` as a process of a node in miniature. */
import { fileURLToPath } from 'node:url'
import { Client, closeClients, type Launch } from '../../support/daemon/client.ts'
import { atEnd } from '../../support/dhcp/ending.ts'
import { Server } from '../../support/dhcp/server.ts'
import type { Finished } from '../../support/program.ts'
import type { Container, PrivateHost } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'

export const linkwright = fileURLToPath(new URL('../../../dist/cli/linkwright.cjs', import.meta.url))
export const SOCKET = '/run/linkwright/linkwright.sock'

/** What it prints is its log. */
export class Resident extends Server {
  readonly host: PrivateHost

  constructor(host: PrivateHost) {
    super(host, 'daemon')
    this.host = host
    atEnd(closeClients)
  }

  async start(args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.launch({ file: linkwright, args: ['daemon', ...args], env, ready: /"message":"ready"/ })
  }

  /** With a log that goes to a pipe. Nobody says when it is ready. */
  async startUnread(pipe: string): Promise<void> {
    const script = 'echo begins; exec "$0" daemon --no-dhcp >/dev/null 2>"$1"'
    await this.launch({ file: 'sh', args: ['-c', script, linkwright, pipe], ready: /begins/ })
  }

  /** Does not wait until it is ready. */
  async startUnready(): Promise<void> {
    const script = 'echo begins; exec "$0" daemon'
    await this.launch({ file: 'sh', args: ['-c', script, linkwright], ready: /begins/ })
  }

  /** As a socket unit does it: it is started when somebody connects. */
  async listen(
    names: string,
    sockets: readonly string[],
    env: Readonly<Record<string, string>>,
    args: readonly string[] = [],
  ): Promise<void> {
    const activate = [
      ...sockets.flatMap((path) => ['-l', path]),
      `--fdname=${names}`,
      ...Object.entries(env).flatMap(([name, value]) => ['-E', `${name}=${value}`]),
    ]
    await this.launch({
      file: 'systemd-socket-activate',
      args: [...activate, linkwright, 'daemon', ...args],
      ready: /Listening on/,
    })
  }

  /** Where the test finds its socket. */
  get path(): string {
    return this.host.file(SOCKET)
  }

  ask(...args: string[]): Promise<Finished> {
    return this.host.run(linkwright, ['daemon', '--status', ...args])
  }

  signal(name: NodeJS.Signals): void {
    if (this.pid === null) throw new Error('it does not run')
    process.kill(this.pid, name)
  }

  /** How it ended: `exit 0`. */
  async ended(): Promise<string> {
    const line = await eventually('it has ended', () => this.log.lines.find((one) => one.startsWith('# ')))
    return line.replace(/^.*has ended: /, '')
  }

  /** The lines of its log that are about operations. */
  operations(): Record<string, unknown>[] {
    return this.log.lines
      .filter((line) => line.includes('"message":"operation"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** A connection that has greeted. */
  connect(): Promise<Client> {
    return Client.open(this.path)
  }
}

const conf = (dataDir: string) => ({
  cniVersion: '1.1.0',
  name: 'pods',
  type: 'ptp',
  secret: 'hunter2',
  ipam: { type: 'host-local', dataDir, subnet: '10.77.0.0/24' },
})

/** How a runtime of the host calls ptp with host-local for a container. */
export const call = (
  host: PrivateHost,
  container: Container,
  verb: string,
  more: Partial<Launch> = {},
): Launch => ({
  type: 'ptp',
  verb,
  conf: conf('/run/ipam'),
  netns: container.sandbox,
  opened: container.path,
  from: host.path,
  ...more,
})
