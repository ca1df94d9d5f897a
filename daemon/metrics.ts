/** What the daemon counts: always, for its status; for Prometheus see metrics-registry.ts. */

/** One operation that is over. */
export interface Operation {
  /** A type that the daemon serves: a caller's word would make a series of its own. */
  readonly plugin: string
  /** One of the spec's, or `other`. */
  readonly verb: string
  /** 0: success; else that of the CNI error. */
  readonly code: number
  /** From the request's arrival to the end of its delivery. */
  readonly seconds: number
}

/** What is read when somebody asks. */
export type Gauge = 'running' | 'queued' | 'leases' | 'connections'

const refusals = ['peer', 'limit', 'resources', 'protocol'] as const
/**
 * Why a connection was not served: it is another user's; there are too many; there was no descriptor or memory left for
 * it; it does not keep to the protocol.
 */
export type Refusal = (typeof refusals)[number]

/** How often something ended in one way. */
export interface OperationCount {
  readonly plugin: string
  readonly verb: string
  /** `0` to `99` and `999`; anything else, which a foreign plugin may choose, is `other`. */
  readonly code: string
  readonly count: number
}

/** Told what is counted, as it is. */
export interface MetricsObserver {
  operation(operation: Omit<Operation, 'code'> & { readonly code: string }): void
}

const labelOf = (code: number): string =>
  (Number.isInteger(code) && code >= 0 && code < 100) || code === 999 ? `${code}` : 'other'

export class Metrics {
  readonly #started = performance.now()
  readonly #counts = new Map<string, { plugin: string; verb: string; code: string; count: number }>()
  readonly #refused = new Map<Refusal, number>(refusals.map((reason) => [reason, 0]))
  readonly #gauges = new Map<Gauge, () => number | Promise<number>>()
  readonly #observers = new Set<MetricsObserver>()

  /** Seconds since it was made: how long the daemon is up. */
  get uptime(): number {
    return (performance.now() - this.#started) / 1000
  }

  /** Counts an operation. */
  operation({ plugin, verb, code, seconds }: Operation): void {
    const label = labelOf(code)
    const key = `${plugin} ${verb} ${label}`
    const entry = this.#counts.get(key)
    if (entry) entry.count++
    else this.#counts.set(key, { plugin, verb, code: label, count: 1 })
    for (const observer of this.#observers) observer.operation({ plugin, verb, code: label, seconds })
  }

  /** What was counted, by plugin, verb and code. */
  operations(): OperationCount[] {
    return [...this.#counts.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => ({ ...entry }))
  }

  /** Counts a connection that was not served. */
  refused(reason: Refusal): void {
    this.#refused.set(reason, this.#refused.get(reason)! + 1)
  }

  /** Connections that were not served, by reason. */
  refusals(): Readonly<Record<Refusal, number>> {
    return Object.fromEntries(this.#refused) as Record<Refusal, number>
  }

  /** Says where a gauge is read. One that nobody has spoken of is not shown. */
  gauge(name: Gauge, read: () => number | Promise<number>): void {
    this.#gauges.set(name, read)
  }

  /** What a gauge shows now; undefined where nobody has spoken of it, or it can't be read. */
  async read(name: Gauge): Promise<number | undefined> {
    try {
      return await this.#gauges.get(name)?.()
    } catch {
      return undefined
    }
  }

  /** From now on `observer` is told of every operation. */
  observe(observer: MetricsObserver): void {
    this.#observers.add(observer)
  }
}
