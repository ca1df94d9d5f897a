/**
 * Keeps the leases of a node: one object for all of them, no thread and, while a lease only runs, no socket for each.
 * What containers use is in the {@link Journal} before anybody is told of it.
 */
import { CniError, codes } from '../../cni/error.ts'
import type { Logger } from '../../cni/plugin.ts'
import { parseConf } from '../../cni/schema.ts'
import type { AttachmentId, Result } from '../../cni/types.ts'
import { Netns } from '../../netlink/index.ts'
import { Breather } from '../files.ts'
import { type DhcpConf, dhcpConf, versionsOf } from './conf.ts'
import { type Held, Holding } from './holding.ts'
import type { Entry, Journal } from './journal.ts'
import type { KeeperStatus, KeptLease, LeaseCall, LeaseKeeper } from './lease-keeper.ts'
import { lowerOf } from './lower.ts'
import { applyMtu, bringUp, granted, noLease, resultOf } from './obtaining.ts'
import { atPlace, GoneError, type Whereabouts } from './place.ts'
import { type Pace, settingsOf } from './settings.ts'
import { bootTime, type Timebase } from './timebase.ts'
import { Turns } from './turns.ts'

export interface KeeperOptions {
  readonly journal: Journal
  readonly log: Logger
  /** Of the software, for STATUS. */
  readonly software: string
  readonly time?: Timebase | undefined
  /** Put before the paths of namespaces: where the host's root is seen. Default: nothing. */
  readonly hostPrefix?: string | undefined
  /** Where interfaces of containers have their lower ones. Default: the namespace of this process. */
  readonly hostNetns?: Netns | undefined
  /** Asks all servers to broadcast. Default false. */
  readonly broadcast?: boolean | undefined
  /** Milliseconds until a message is repeated for the first time. Default 4000. */
  readonly firstTimeout?: number | undefined
  /** Milliseconds between repetitions at most. Default 64000. */
  readonly maxTimeout?: number | undefined
  /** Milliseconds that an ADD waits for a lease at most. Default 30000. */
  readonly deadline?: number | undefined
}

const DEFAULT_DEADLINE = 30_000

const nameOf = (network: string, { containerId, ifName }: AttachmentId): string =>
  `${network}\0${containerId}\0${ifName}`

const failed = (code: number, msg: string, details: string, cause?: unknown): CniError =>
  new CniError({ code, msg, details, cause })

export class Keeper implements LeaseKeeper {
  readonly #options: KeeperOptions
  readonly #hostNetns: Netns
  readonly time: Timebase
  readonly pace: Pace
  /** By attachment: its leases by protocol. */
  readonly #held = new Map<string, Map<4 | 6, Holding>>()
  /** What is under way for an attachment: one thing after the other. */
  readonly #turns = new Turns()
  /** ADDs under way: a DEL ends them. */
  readonly #adding = new Map<string, AbortController>()
  readonly #counters = new Map<string, number>()
  #stopped = false
  /** Over when what the journal knows has been taken over. */
  #ready: Promise<void> = Promise.resolve()

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#hostNetns = options.hostNetns ?? Netns.current()
    this.time = options.time ?? bootTime
    const { firstTimeout = 4000, maxTimeout = 64_000 } = options
    this.pace = { firstTimeout, maxTimeout }
  }

  #count(event: string): void {
    this.#counters.set(event, (this.#counters.get(event) ?? 0) + 1)
  }

  // Leases as they are held.

  #pathOf(netns: string): string {
    return `${this.#options.hostPrefix ?? ''}${netns}`
  }

  #hold(version: 4 | 6, what: Held): Holding {
    const name = nameOf(what.id.network, what.id)
    const { time, pace } = this
    const { log } = this.#options
    const holding: Holding = new Holding(version, what, pace, {
      time,
      log,
      hostNetns: this.#hostNetns,
      events: {
        changed: () => {
          // What has been let go meanwhile must not come back.
          if (!this.#stopped && this.#held.get(name)?.get(version) === holding) this.#note(holding)
        },
        bound: () => holding.tell(holding.unnoted),
        gone: (why) => this.#gone(holding, why),
        count: (event) => this.#count(event),
      },
    })
    const own = this.#held.get(name) ?? new Map<4 | 6, Holding>()
    own.set(version, holding)
    this.#held.set(name, own)
    return holding
  }

  /** An address that the journal does not know is not told to anybody, but a lease that is in use goes on. */
  #note(holding: Holding): void {
    try {
      this.#options.journal.write(holding.entry)
      holding.unnoted = undefined
    } catch (error) {
      holding.unnoted = error as Error
      this.#count('unnoted')
      this.#options.log.error(`DHCP: a lease could not be noted: ${(error as Error).message}`)
    }
  }

  /** Ends keeping it, whatever became of it. */
  #letGo(holding: Holding): void {
    const {
      what: { id },
      binding,
    } = holding
    binding.stop()
    const name = nameOf(id.network, id)
    const own = this.#held.get(name)
    if (own?.get(binding.version) === holding) {
      own.delete(binding.version)
      if (own.size === 0) this.#held.delete(name)
    }
    this.#options.journal.remove({ ...id, version: binding.version })
  }

  #gone(holding: Holding, why: Error): void {
    if (this.#stopped || holding.binding.state === 'STOPPED') return
    this.#count('abandoned')
    this.#options.log.warn(`DHCP: a lease is given up: ${why.message}`, {
      container: holding.what.id.containerId,
      network: holding.what.id.network,
      interface: holding.what.id.ifName,
      address: holding.binding.grant?.ips[0]?.address,
    })
    this.#letGo(holding)
    holding.tell(why)
  }

  // Beginning and end.

  /**
   * Takes over the leases that the journal knows: those whose namespace and interface are still there. The others are
   * forgotten. What is asked meanwhile waits.
   * @param which default: all
   * @throws CniError code 5 where the journal can't be read
   */
  async adopt(which: (entry: Entry) => boolean = () => true): Promise<void> {
    const adopting = this.#adopt(which)
    this.#ready = adopting.catch(() => {})
    await adopting
  }

  async #adopt(which: (entry: Entry) => boolean): Promise<void> {
    const { journal, log } = this.#options
    const breather = new Breather()
    const unreadable = (why: CniError) => log.error(`DHCP: a lease is lost: ${why.msg}`)
    for (const entry of journal.list(unreadable).filter(which)) {
      try {
        await this.#adoptOne(entry)
      } catch (error) {
        if (!(error instanceof GoneError)) throw error
        this.#count('abandoned')
        log.info(`DHCP: a lease is forgotten: ${error.message}`, {
          container: entry.containerId,
          network: entry.network,
        })
        journal.remove(entry)
      }
      if (breather.due) await breather.rest()
    }
  }

  async #adoptOne(entry: Entry): Promise<void> {
    const { network, containerId, ifName, netns, netnsId, index, mac, settings } = entry
    let where: Whereabouts = { path: this.#pathOf(netns), netnsId, ifName, index, mac }
    try {
      const lower = await atPlace(where, (place) => lowerOf(place, this.#hostNetns))
      where = { ...where, lower }
    } catch (error) {
      if (error instanceof GoneError) throw error
      // Whatever it is, it does not say that the lease is not in use.
      this.#options.log.warn(`DHCP: ${where.path} could not be looked at: ${(error as Error).message}`)
    }
    const id = { network, containerId, ifName }
    const holding = this.#hold(entry.version, { id, where, settings, netns })
    if (holding.resume(entry, this.time.now())) this.#count('adopted')
    else this.#letGo(holding)
  }

  /** Ends everything that is under way. Leases stay, for the next keeper. Safe to repeat. */
  async stop(): Promise<void> {
    this.#stopped = true
    const away = new Error('the lease keeper stops')
    for (const controller of this.#adding.values()) controller.abort(away)
    const all = [...this.#held.values()].flatMap((own) => [...own.values()])
    for (const { binding } of all) binding.stop()
    await Promise.allSettled([this.#turns.over(), ...all.map(({ binding }) => binding.settled())])
    this.#held.clear()
  }

  // What is asked of it.

  async allocate(call: LeaseCall, signal?: AbortSignal): Promise<Result> {
    const conf = parseConf(dhcpConf, call.conf, 'dhcp')
    const name = nameOf(conf.name, call)
    await this.#ready
    return await this.#turns.take(name, async () => {
      signal?.throwIfAborted()
      if (this.#stopped) throw noLease('the lease keeper stops')
      const controller = new AbortController()
      this.#adding.set(name, controller)
      const both = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal
      try {
        return await this.#obtain(conf, call, both)
      } finally {
        this.#adding.delete(name)
      }
    })
  }

  async #obtain(conf: DhcpConf, call: LeaseCall, signal: AbortSignal): Promise<Result> {
    const where = {
      path: this.#pathOf(call.netns),
      netnsId: '',
      ifName: call.ifName,
      index: 0,
      mac: '',
    }
    try {
      return await atPlace(where, async (place) => {
        const exact = {
          ...where,
          netnsId: place.netns.identity,
          index: place.link.index,
          mac: place.link.address,
          lower: await lowerOf(place, this.#hostNetns),
        }
        const settings = settingsOf(conf, call, place.link, this.#options.broadcast ?? false)
        const versions = versionsOf(conf)
        const name = nameOf(conf.name, call)
        for (const held of [...(this.#held.get(name)?.values() ?? [])])
          if (!held.isGoodFor(exact, versions)) this.#giveBack(held)
        const timeout = conf.ipam.timeout === undefined ? undefined : conf.ipam.timeout * 1000
        const deadline = this.time.now() + (timeout ?? this.#options.deadline ?? DEFAULT_DEADLINE)
        const effort = { time: this.time, log: this.#options.log, deadline, signal }
        const settle = await bringUp(place, effort, versions.includes(6))
        const id = { network: conf.name, containerId: call.containerId, ifName: call.ifName }
        const holdings = versions.map(
          (version) =>
            this.#held.get(name)?.get(version) ??
            this.#hold(version, { id, where: exact, settings, netns: call.netns }),
        )
        try {
          const late = () => this.#count('timedOut')
          const grants = await Promise.all(holdings.map((holding) => granted(holding, effort, late)))
          settle()
          return resultOf(await applyMtu(grants, place, effort.log), call)
        } catch (error) {
          for (const holding of holdings) this.#giveBack(holding)
          throw error
        }
      })
    } catch (error) {
      if (!(error instanceof GoneError)) throw error
      throw failed(
        codes.invalidNetns,
        `failed to find the interface of the lease: ${error.message}`,
        'DHCP speaks over the interface itself: the interface plugin has to make it before it asks for addresses (ptp does not)',
        error,
      )
    }
  }

  #giveBack(holding: Holding): void {
    if (holding.binding.grant) this.#count('released')
    holding.binding.release()
    this.#letGo(holding)
  }

  async check(call: LeaseCall): Promise<Result> {
    await this.#ready
    const conf = parseConf(dhcpConf, call.conf, 'dhcp')
    const own = this.#held.get(nameOf(conf.name, call))
    const grants = versionsOf(conf).map((version) => {
      const holding = own?.get(version)
      if (holding?.binding.grant) return holding.binding.grant
      throw failed(
        codes.internal,
        `dhcp: no lease of version ${version} for container ${call.containerId}`,
        holding
          ? `it was lost, and is looked for (${holding.binding.state})${holding.binding.heard === '' ? '' : `: ${holding.binding.heard}`}`
          : 'the keeper knows nothing of it',
      )
    })
    return resultOf(grants, call)
  }

  async release(call: LeaseCall): Promise<void> {
    await this.#ready
    const network = String(call.conf.name)
    const name = nameOf(network, call)
    this.#adding.get(name)?.abort(new Error('the attachment is deleted'))
    await this.#turns.take(name, async () => {
      for (const holding of [...(this.#held.get(name)?.values() ?? [])]) {
        this.#giveBack(holding)
        await holding.binding.settled()
      }
    })
  }

  async gc(network: string, valid: readonly AttachmentId[]): Promise<void> {
    await this.#ready
    const keep = new Set(valid.map((id) => nameOf(network, id)))
    const breather = new Breather()
    for (const [name, own] of [...this.#held]) {
      const [first] = own.values()
      if (!first || first.what.id.network !== network || keep.has(name)) continue
      await this.#turns.take(name, async () => {
        for (const holding of [...own.values()]) this.#giveBack(holding)
      })
      if (breather.due) await breather.rest()
    }
  }

  async status(): Promise<KeeperStatus> {
    await this.#ready
    return {
      pid: process.pid,
      version: this.#options.software,
      leases: [...this.#held.values()].reduce((sum, own) => sum + own.size, 0),
      counters: Object.fromEntries(this.#counters),
    }
  }

  async list(): Promise<readonly KeptLease[]> {
    await this.#ready
    const shift = Date.now() - this.time.now()
    return [...this.#held.values()].flatMap((own) => [...own.values()].map((holding) => holding.kept(shift)))
  }
}
