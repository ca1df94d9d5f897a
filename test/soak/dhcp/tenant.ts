/** A container that comes and goes, as its runtime sees it. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'vitest'
import type { daemonNode, Executed } from '../../kernel/ipam/dhcp/daemon.ts'
import { ipv4Of } from '../../kernel/ipam/dhcp/node.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container } from '../../support/space.ts'
import type { Chance } from '../support/chance.ts'
import type { Tally } from '../support/tally.ts'
import type { Turnstile } from '../support/turnstile.ts'

export type SoakNode = Awaited<ReturnType<typeof daemonNode>>

/** Codes of what passes: nobody answered in time, no keeper runs. */
const passing = [11, 50]
/** Milliseconds in which a DEL has to work, however often it has to be repeated. */
const DEL_DEADLINE = 90_000

export interface TenantOptions {
  readonly node: SoakNode
  readonly name: string
  readonly chance: Chance
  readonly turnstile: Turnstile
  readonly tally: Tally
}

export class Tenant {
  readonly #options: TenantOptions
  #container: Container
  #lives = 0
  #result: PrintedResult | null = null

  private constructor(options: TenantOptions, container: Container) {
    this.#options = options
    this.#container = container
  }

  static async move(options: TenantOptions): Promise<Tenant> {
    return new Tenant(options, await options.node.host.container(options.name))
  }

  get containerId(): string {
    return `${this.#options.name}-${this.#lives}`
  }

  /** What ADD printed; null while it is not attached. */
  get result(): PrintedResult | null {
    return this.#result
  }

  get container(): Container {
    return this.#container
  }

  /** Addresses of its interface; null where it has none. */
  addresses(): Promise<string[] | null> {
    return ipv4Of(this.#container)
  }

  async #run(command: string): Promise<Executed> {
    const { node, turnstile, tally } = this.#options
    const executed = await turnstile.pass(() =>
      node.run(command, {
        container: this.#container,
        containerId: this.containerId,
        prevResult: this.#result,
        ipam: { timeout: 10 },
      }),
    )
    tally.add(
      `${command} ${executed.error ? `code ${executed.error.code}` : (executed.status ?? executed.signal)}`,
    )
    return executed
  }

  /** Does something, while anything may happen. */
  async step(): Promise<void> {
    const { chance } = this.#options
    await pause(chance.between(0, 1500))
    if (!this.#result) await this.#add()
    else if (chance.is(0.5)) await this.#run('CHECK')
    else if (chance.is(0.8)) await this.remove()
    else await this.#crash()
  }

  async #add(): Promise<void> {
    this.#lives++
    const { result, error, stdout, stderr } = await this.#run('ADD')
    if (result) {
      this.#result = result
      return
    }
    expect(passing, `${stdout}${stderr}`).toContain(error?.code)
    expect(await this.addresses()).toBeNull()
    // A runtime deletes what could not be added.
    await this.remove()
  }

  /** DEL, as often as it takes. */
  async remove(): Promise<void> {
    const end = performance.now() + DEL_DEADLINE
    for (;;) {
      const { status, error, stdout, stderr } = await this.#run('DEL')
      if (status === 0) break
      expect(passing, `${stdout}${stderr}`).toContain(error?.code)
      expect(performance.now(), `DEL still fails: ${stdout}`).toBeLessThan(end)
      await pause(500)
    }
    this.#result = null
    expect(await this.addresses()).toBeNull()
  }

  /** Its namespace is gone before DEL comes. */
  async #crash(): Promise<void> {
    const { node, name, tally } = this.#options
    tally.add('crash')
    await this.#container.close()
    const end = performance.now() + DEL_DEADLINE
    while ((await this.#run('DEL')).status !== 0) {
      expect(performance.now(), 'DEL without a namespace still fails').toBeLessThan(end)
      await pause(500)
    }
    this.#result = null
    this.#container = await node.host.container(name)
  }

  /** CHECK, while all is well: it has to know whether the address is the one that ADD told. */
  async check(address: string): Promise<void> {
    const { status, stdout, stderr } = await this.#run('CHECK')
    const same = this.#result!.ips!.some((ip) => ip.address === address)
    expect({ status, stdout, stderr }, `the lease is ${address}`).toMatchObject({
      status: same ? 0 : 1,
    })
  }
}
