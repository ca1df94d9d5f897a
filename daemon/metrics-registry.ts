/** What the daemon counts, as Prometheus reads it. docs/metrics.md says what each is good for. Loaded only when asked for. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Gauge as GaugeName, Metrics } from './metrics.ts'
import { maxDescriptors, openDescriptors, residentBytes } from './process-facts.ts'

/** Seconds. An ADD takes 1 ms in the daemon, a veth's end 20, a foreign plugin 10 to 100, a DHCP server seconds. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** Milliseconds between two looks at the event loop. What is shorter than a look is not always seen. */
const RESOLUTION = 20

/** Nanoseconds as seconds, without the time that a look has to wait in any case. */
const delayOf = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - RESOLUTION / 1e3)

const gauges: Readonly<Record<GaugeName, { readonly name: string; readonly help: string }>> = {
  running: { name: 'linkwright_operations_running', help: 'Operations at work.' },
  queued: { name: 'linkwright_operations_queued', help: 'Operations that wait for their turn.' },
  connections: { name: 'linkwright_connections', help: 'Callers that are connected.' },
  leases: { name: 'linkwright_dhcp_leases', help: 'DHCP leases that are kept.' },
}

/** The event loop's delay since somebody last asked. */
const loopDelay = (registry: Registry, histogram: IntervalHistogram): void => {
  const quantiles = { '0.5': 50, '0.99': 99 }
  new Gauge({
    name: 'linkwright_event_loop_delay_seconds',
    help: 'How late the event loop was since the last scrape; quantile 1 is the worst.',
    labelNames: ['quantile'],
    registers: [registry],
    collect() {
      for (const [quantile, percent] of Object.entries(quantiles))
        this.set({ quantile }, delayOf(histogram.percentile(percent)))
      this.set({ quantile: '1' }, delayOf(histogram.max))
      histogram.reset()
    },
  })
}

const processMetrics = (registry: Registry): void => {
  const registers = [registry]
  const started = Date.now() / 1000 - process.uptime()
  const facts: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ['process_start_time_seconds', 'Start time in seconds since the epoch.', () => started],
    ['process_resident_memory_bytes', 'Resident memory.', residentBytes],
    ['process_open_fds', 'Open descriptors.', openDescriptors],
    ['process_max_fds', 'Descriptors that may be open.', maxDescriptors],
  ]
  for (const [name, help, read] of facts)
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  let last = 0
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time of the process, its threads included.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      this.inc(Math.max(0, seconds - last))
      last = seconds
    },
  })
}

export interface MetricsText {
  /** For the header `Content-Type`. */
  readonly contentType: string
  /** The exposition, version 0.0.4 of the text format. */
  text(): Promise<string>
  /** Stops looking at the event loop. */
  close(): void
}

/** Counts for Prometheus from now on what `metrics` is told. */
export const createRegistry = (metrics: Metrics, version: string): MetricsText => {
  const registry = new Registry()
  const registers = [registry]
  const operations = new Counter({
    name: 'linkwright_operations_total',
    help: 'Operations that are over, by the code of their error; 0 is success.',
    labelNames: ['plugin', 'verb', 'code'],
    registers,
  })
  const duration = new Histogram({
    name: 'linkwright_operation_duration_seconds',
    help: 'From the arrival of a request to the end of its delivery.',
    labelNames: ['plugin', 'verb'],
    buckets: BUCKETS,
    registers,
  })
  metrics.observe({
    operation({ plugin, verb, code, seconds }) {
      operations.inc({ plugin, verb, code })
      duration.observe({ plugin, verb }, seconds)
    },
  })
  for (const [key, { name, help }] of Object.entries(gauges))
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        const value = await metrics.read(key as GaugeName)
        if (value === undefined) this.remove()
        else this.set(value)
      },
    })
  new Counter({
    name: 'linkwright_connections_refused_total',
    help: 'Connections that were not served.',
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(metrics.refusals())) this.inc({ reason }, count)
    },
  })
  const info = new Gauge({
    name: 'linkwright_build_info',
    help: 'Always 1: the versions are in the labels.',
    labelNames: ['version', 'node'],
    registers,
  })
  info.set({ version, node: process.version }, 1)
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION })
  histogram.enable()
  loopDelay(registry, histogram)
  processMetrics(registry)
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => {
      histogram.disable()
    },
  }
}
