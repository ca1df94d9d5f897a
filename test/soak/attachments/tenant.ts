/** A container with up to two interfaces that come and go, as its runtime sees it. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import type { Chance } from '../support/chance.ts'
import type { Tally } from '../support/tally.ts'
import type { Addresses } from './addresses.ts'
import type { AttachmentName, Call, Door, GiveUp, Outcome } from './door.ts'
import type { Network } from './networks.ts'
import type { SoakNode } from './node.ts'

export const INTERFACES = ['eth0', 'eth1'] as const

/** What passes: try again later, nobody has answered. */
const passing: readonly unknown[] = [11, 'lost']
/** Milliseconds in which a call has to work, however often it has to be repeated. */
const DEADLINE = 60_000
/** Milliseconds after which a caller loses patience, at most. */
const PATIENCE = 40
/** More than a tenant begins during a GC. */
const LIVES = 8
/** What a new namespace has, and tuning changes. */
const SOMAXCONN = '4096'

export interface TenantOptions {
  readonly node: SoakNode
  readonly door: Door
  readonly networks: readonly Network[]
  readonly addresses: Addresses
  readonly number: number
  readonly chance: Chance
  readonly tally: Tally
  /** All of them, and so whom a GC leaves alone. */
  readonly all: readonly Tenant[]
}

interface Attached {
  readonly network: Network
  readonly result: PrintedResult
}

export class Tenant {
  readonly #options: TenantOptions
  readonly #attached = new Map<string, Attached>()
  #container: Container
  #lives = 0

  private constructor(options: TenantOptions, container: Container) {
    this.#options = options
    this.#container = container
  }

  static async move(options: TenantOptions): Promise<Tenant> {
    return new Tenant(options, await options.node.host.container(`c${options.number}`))
  }

  get container(): Container {
    return this.#container
  }

  /** This life's attachments, and those of the next ones, which may begin while somebody's GC runs. */
  names(): AttachmentName[] {
    return Array.from({ length: LIVES }, (_, i) => this.#idOf(this.#lives + i)).flatMap((containerID) =>
      INTERFACES.map((ifname) => ({ containerID, ifname })),
    )
  }

  #idOf(life: number): string {
    return `tenant${this.#options.number}-${life}`
  }

  async #call(
    verb: Call['verb'],
    network: Network,
    ifname: string | null,
    more: Partial<Call> = {},
  ): Promise<Outcome> {
    const { door, number, tally } = this.#options
    const outcome = await door.call({
      ...{ verb, network },
      ...(ifname === null
        ? {}
        : {
            attachment: { containerID: this.#idOf(this.#lives), ifname },
            netns: this.#container.sandbox,
            portMappings: [0, 1].map((i) => ({
              hostPort: 20_000 + number * 10 + INTERFACES.indexOf(ifname as 'eth0') * 2 + i,
              containerPort: 80 + i,
              protocol: 'tcp',
            })),
            result: this.#attached.get(ifname)?.result ?? null,
          }),
      ...more,
    })
    tally.add(
      `${door.name}: ${verb} ${typeof outcome.code === 'number' ? `code ${outcome.code}` : outcome.code}`,
    )
    return outcome
  }

  /** As often as it takes. */
  async #insist(
    verb: Call['verb'],
    network: Network,
    ifname: string | null,
    more: Partial<Call> = {},
  ): Promise<void> {
    const end = performance.now() + DEADLINE
    for (;;) {
      const { code, text } = await this.#call(verb, network, ifname, more)
      if (code === 0) return
      expect(
        passing,
        `${verb} ${network.name} ${this.#idOf(this.#lives)} ${ifname}: ${code} ${text}`,
      ).toContain(code)
      expect(performance.now(), `${verb} of ${network.name} still fails: ${code} ${text}`).toBeLessThan(end)
      await pause(100)
    }
  }

  #someNetwork(): Network {
    const { networks, chance } = this.#options
    const used = [...this.#attached.values()].map(({ network }) => network)
    const free = networks.filter((network) => !used.includes(network))
    return free[Math.floor(chance.between(0, free.length))]!
  }

  #giveUp(): GiveUp {
    const { chance } = this.#options
    return { after: chance.between(0, PATIENCE), signal: chance.is(0.5) ? 'SIGKILL' : 'SIGTERM' }
  }

  /** Does something, while anything may happen. */
  async step(): Promise<void> {
    const { chance } = this.#options
    await pause(chance.between(0, 300))
    const ifname = INTERFACES[chance.is(0.7) ? 0 : 1]
    if (chance.is(0.02)) return await this.#insist('STATUS', this.#someNetwork(), null)
    if (chance.is(0.02)) return await this.collect(this.#someNetwork())
    if (chance.is(0.03)) return await (chance.is(0.5) ? this.#crash() : this.#forget())
    if (!this.#attached.has(ifname)) {
      if (chance.is(0.05)) return await this.#insist('DEL', this.#someNetwork(), ifname)
      return await this.#add(ifname, chance.is(0.25) ? this.#giveUp() : undefined)
    }
    if (chance.is(0.4)) return await this.#check(ifname)
    await this.#remove(ifname)
  }

  async #add(ifname: string, giveUp: GiveUp | undefined): Promise<void> {
    const { addresses } = this.#options
    if (this.#attached.size === 0) this.#lives++
    const network = this.#someNetwork()
    const { code, text, result } = await this.#call('ADD', network, ifname, { giveUp })
    if (code === 0) {
      this.#attached.set(ifname, { network, result: result! })
      addresses.claim(network, `${this.#idOf(this.#lives)} ${ifname}`, result!)
      return
    }
    if (code !== 'given up')
      expect(passing, `ADD ${network.name} ${this.#idOf(this.#lives)} ${ifname}: ${code} ${text}`).toContain(
        code,
      )
    // A runtime deletes what could not be added.
    await this.#insist('DEL', network, ifname)
    await this.#expectLinks()
  }

  async #check(ifname: string): Promise<void> {
    const { network } = this.#attached.get(ifname)!
    await this.#insist('CHECK', network, ifname)
  }

  /** DEL, whole or in pieces. */
  async #remove(ifname: string): Promise<void> {
    const { addresses, chance } = this.#options
    const { network } = this.#attached.get(ifname)!
    addresses.release(`${this.#idOf(this.#lives)} ${ifname}`)
    if (chance.is(0.2)) await this.#call('DEL', network, ifname, { giveUp: this.#giveUp() })
    await this.#insist('DEL', network, ifname)
    if (chance.is(0.2)) await this.#insist('DEL', network, ifname)
    this.#attached.delete(ifname)
    await this.#expectLinks()
    if (chance.is(0.1)) await this.#insist('DEL', network, ifname)
  }

  /** The container has the interfaces that it was given and has not given back. */
  async #expectLinks(): Promise<void> {
    const names = (await this.#container.must('ls', ['/proc/sys/net/ipv4/conf'])).split('\n')
    const links = names.filter((name) => !['', 'all', 'default', 'lo'].includes(name))
    expect(links, this.#idOf(this.#lives)).toEqual([...this.#attached.keys()].sort())
  }

  /** The container is gone before DEL comes. */
  async #crash(): Promise<void> {
    this.#options.tally.add('crash')
    await this.#container.close()
    for (const [ifname, { network }] of this.#attached) {
      this.#options.addresses.release(`${this.#idOf(this.#lives)} ${ifname}`)
      await this.#insist('DEL', network, ifname)
    }
    await this.#moveIn()
  }

  /** The container is gone, and its runtime has lost it: GC has to find what is left. */
  async #forget(): Promise<void> {
    this.#options.tally.add('forgotten')
    await this.#container.close()
    const left = [...this.#attached]
    for (const [ifname] of left) this.#options.addresses.release(`${this.#idOf(this.#lives)} ${ifname}`)
    this.#lives++
    await this.#moveIn()
    for (const [, { network }] of left) await this.collect(network)
  }

  async #moveIn(): Promise<void> {
    const { node, number } = this.#options
    this.#attached.clear()
    this.#container = await node.host.container(`c${number}`)
  }

  /** GC, which leaves all of the tenants alone. */
  async collect(network: Network): Promise<void> {
    await this.#insist('GC', network, null, { valid: this.#options.all.flatMap((tenant) => tenant.names()) })
  }

  /** A first attachment, which has to work. */
  async visit(network: Network): Promise<void> {
    const { code, text } = await this.#call('ADD', network, 'eth0')
    expect({ code, text }).toEqual({ code: 0, text: '' })
    await this.#insist('DEL', network, 'eth0')
  }

  /** All that it has goes. */
  async removeAll(): Promise<void> {
    for (const ifname of [...this.#attached.keys()]) await this.#remove(ifname)
    await this.#expectLinks()
    expect(await this.#container.sysctl('net/core/somaxconn')).toBe(SOMAXCONN)
  }
}
