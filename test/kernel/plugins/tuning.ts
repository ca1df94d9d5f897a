/** A node with a container that has an `eth0` to be tuned, and the files that tuning reads and writes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { JsonObject } from '../../../cni/types.ts'
import { defineTuning } from '../../../plugins/tuning/index.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import { type Node, type NodeCall, node } from './node.ts'

/** Where the Go plugin keeps originals. */
export const dataDir = '/run/cni/tuning'

/** `eth0` as a link's settings tell of it. */
export interface Shown {
  readonly address: string
  readonly mtu: number
  readonly txqlen: number
  readonly flags: readonly string[]
}

export class Tuned {
  readonly node: Node
  readonly container: Container
  readonly allowlist: string

  constructor(made: Node, container: Container) {
    this.node = made
    this.container = container
    this.allowlist = made.host.file('/run/allowlist/allowlist.conf')
    const own = defineTuning({ allowlist: this.allowlist, dataDir: this.folder })
    made.options = { plugins: new Map([...made.plugins, [own.type, own]]) }
  }

  /** {@link dataDir}, as the test's own process finds it. */
  get folder(): string {
    return this.node.host.file(dataDir)
  }

  allow(...lines: string[]): void {
    mkdirSync(dirname(this.allowlist), { recursive: true })
    writeFileSync(this.allowlist, lines.join('\n'))
  }

  /** What the plugin before has printed. */
  before(more: Partial<PrintedResult> = {}): PrintedResult {
    const sandbox = this.container.path
    return {
      cniVersion: '1.1.0',
      interfaces: [
        { name: 'cni0', mac: '02:00:00:00:00:01' },
        { name: 'eth0', mac: '02:00:00:00:00:02', mtu: 1500, sandbox },
      ],
      ips: [{ address: '10.9.0.5/24', interface: 1 }],
      ...more,
    }
  }

  #call(more: NodeCall): NodeCall {
    return { container: this.container, prevResult: this.before(), ...more }
  }
  add(conf: JsonObject, more: NodeCall = {}): Promise<PrintedResult> {
    return this.node.add({ type: 'tuning', ...conf }, this.#call(more))
  }
  check(conf: JsonObject, more: NodeCall = {}): Promise<void> {
    return this.node.check({ type: 'tuning', ...conf }, this.#call(more))
  }
  del(conf: JsonObject = {}, more: NodeCall = {}): Promise<void> {
    return this.node.del({ type: 'tuning', ...conf }, this.#call(more))
  }
  async call(verb: 'STATUS' | 'GC', conf: JsonObject): Promise<void> {
    await this.node.call(verb, { type: 'tuning', ...conf })
  }

  async link(): Promise<Shown> {
    const [found] = await this.container.ipJson<Shown>('link', 'show', 'eth0')
    return found!
  }
  sysctl(name: string): Promise<string> {
    return this.container.sysctl(name)
  }

  /** Names of what is kept. */
  kept(): string[] {
    return existsSync(this.folder) ? readdirSync(this.folder).sort() : []
  }
  keep(name: string, content: unknown): void {
    mkdirSync(this.folder, { recursive: true })
    writeFileSync(
      `${this.folder}/${name}`,
      typeof content === 'string' ? content : JSON.stringify(content, null, 1),
    )
  }
  backup(name = 'cid-1_eth0.json'): Record<string, unknown> {
    return JSON.parse(readFileSync(`${this.folder}/${name}`, 'utf8')) as Record<string, unknown>
  }
}

/** With `eth0` of a kind, up, under 02:00:00:00:00:02. Default: a veth. */
export const tuned = async (...kind: readonly string[]): Promise<Tuned> => {
  const made = await node()
  const container = await made.host.container()
  await container.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  const type = kind.length > 0 ? kind : ['veth', 'peer', 'name', 'eth1']
  await container.ip('link', 'add', 'eth0', 'address', '02:00:00:00:00:02', 'type', ...type)
  await container.ip('link', 'set', 'eth0', 'up')
  return new Tuned(made, container)
}

/** Asks for everything, but of IPv6. */
export const everything: JsonObject = {
  mac: '02:11:22:33:44:55',
  promisc: true,
  mtu: 1400,
  allmulti: true,
  txQLen: 77,
  sysctl: { 'net.ipv4.conf.IFNAME.arp_filter': '1', 'net.ipv4.ip_local_port_range': '20000 30000' },
}
