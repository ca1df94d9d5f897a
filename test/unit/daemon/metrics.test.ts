import { afterEach, describe, expect, test } from 'vitest'
import { type Gauge, Metrics, type Operation } from '../../../daemon/metrics.ts'
import { createRegistry, type MetricsText } from '../../../daemon/metrics-registry.ts'
import { statusOf } from '../../../daemon/status.ts'

const operation = (more: Partial<Operation> = {}): Operation => ({
  plugin: 'bridge',
  verb: 'ADD',
  code: 0,
  seconds: 0.0015,
  ...more,
})

/** Samples of the text format: `name{labels}` and their value. */
const samples = (text: string): Map<string, number> => {
  const found = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const match = /^([a-zA-Z_:][\w:]*(?:\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (\S+)$/.exec(line)
    if (!match) throw new Error(`no sample: ${line}`)
    const value = match[2] === '+Inf' ? Number.POSITIVE_INFINITY : Number(match[2])
    if (Number.isNaN(value)) throw new Error(`no number: ${line}`)
    if (found.has(match[1]!)) throw new Error(`twice: ${line}`)
    found.set(match[1]!, value)
  }
  return found
}

describe('counting', () => {
  test('operations by plugin, verb and code, sorted', () => {
    const metrics = new Metrics()
    for (const code of [0, 11, 0]) metrics.operation(operation({ code }))
    metrics.operation(operation({ plugin: 'argon', verb: 'DEL' }))
    expect(metrics.operations()).toEqual([
      { plugin: 'argon', verb: 'DEL', code: '0', count: 1 },
      { plugin: 'bridge', verb: 'ADD', code: '0', count: 2 },
      { plugin: 'bridge', verb: 'ADD', code: '11', count: 1 },
    ])
  })

  test.each([
    [0, '0'],
    [99, '99'],
    [100, 'other'],
    [999, '999'],
    [4294967295, 'other'],
    [-1, 'other'],
    [1.5, 'other'],
    [Number.NaN, 'other'],
  ])('a foreign plugin can not make a series for each code: %s is %s', (code, label) => {
    const metrics = new Metrics()
    metrics.operation(operation({ code }))
    expect(metrics.operations().map(({ code: one }) => one)).toEqual([label])
  })

  test('what it gives away can not be changed', () => {
    const metrics = new Metrics()
    metrics.operation(operation())
    Object.assign(metrics.operations()[0]!, { count: 7 })
    expect(metrics.operations()[0]!.count).toBe(1)
  })

  test('refusals by reason', () => {
    const metrics = new Metrics()
    metrics.refused('peer')
    metrics.refused('peer')
    metrics.refused('protocol')
    expect(metrics.refusals()).toEqual({ peer: 2, limit: 0, resources: 0, protocol: 1 })
  })

  test('gauges: by function or promise; unknown or broken ones are nothing', async () => {
    const metrics = new Metrics()
    metrics.gauge('running', () => 3)
    metrics.gauge('leases', async () => 4)
    metrics.gauge('queued', () => {
      throw new Error('broken')
    })
    const names: Gauge[] = ['running', 'leases', 'queued', 'connections']
    expect(await Promise.all(names.map((name) => metrics.read(name)))).toEqual([3, 4, undefined, undefined])
  })
})

describe('the status', () => {
  test('has all of it, and null for what there is not', async () => {
    const metrics = new Metrics()
    metrics.operation(operation())
    metrics.refused('limit')
    metrics.gauge('running', () => 2)
    const status = await statusOf(metrics, '1.2.3')
    expect(status).toMatchObject({
      version: '1.2.3',
      node: process.version,
      pid: process.pid,
      running: 2,
      queued: null,
      connections: null,
      leases: null,
      operations: [{ plugin: 'bridge', verb: 'ADD', code: '0', count: 1 }],
      refused: { limit: 1 },
    })
    expect(status.uptime).toBeGreaterThanOrEqual(0)
    expect(status.uptime).toBeLessThan(60)
    expect(status.memory.resident).toBeGreaterThan(10 << 20)
    expect(status.memory.heap).toBeGreaterThan(1 << 20)
    expect(status.descriptors).toBeGreaterThan(2)
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
  })
})

describe('for Prometheus', () => {
  let open: MetricsText | undefined
  afterEach(() => open?.close())
  const scrape = async (metrics: Metrics, change = (): void => {}) => {
    open = createRegistry(metrics, '1.2.3')
    change()
    return samples(await open.text())
  }

  test('operations are counted, and fall into buckets', async () => {
    const metrics = new Metrics()
    const found = await scrape(metrics, () => {
      metrics.operation(operation())
      metrics.operation(operation({ seconds: 0.3 }))
      metrics.operation(operation({ code: 11, seconds: 60 }))
    })
    const of = 'plugin="bridge",verb="ADD"'
    expect(found.get(`linkwright_operations_total{${of},code="0"}`)).toBe(2)
    expect(found.get(`linkwright_operations_total{${of},code="11"}`)).toBe(1)
    const bucket = (le: string) => found.get(`linkwright_operation_duration_seconds_bucket{le="${le}",${of}}`)
    expect(['0.001', '0.0025', '0.25', '0.5', '10', '+Inf'].map(bucket)).toEqual([0, 1, 1, 2, 2, 3])
    expect(found.get(`linkwright_operation_duration_seconds_count{${of}}`)).toBe(3)
    expect(found.get(`linkwright_operation_duration_seconds_sum{${of}}`)).toBeCloseTo(60.3015)
  })

  test('counters only grow from scrape to scrape', async () => {
    const metrics = new Metrics()
    await scrape(metrics)
    metrics.refused('peer')
    metrics.operation(operation())
    const [first, second] = [samples(await open!.text()), samples(await open!.text())]
    for (const name of [
      'linkwright_connections_refused_total{reason="peer"}',
      'linkwright_operations_total{plugin="bridge",verb="ADD",code="0"}',
    ])
      expect([first.get(name), second.get(name)]).toEqual([1, 1])
    const cpu = [first, second].map((one) => one.get('process_cpu_seconds_total')!)
    expect(cpu[0]).toBeGreaterThan(0)
    expect(cpu[1]).toBeGreaterThanOrEqual(cpu[0]!)
  })

  test('gauges that exist', async () => {
    const metrics = new Metrics()
    metrics.gauge('running', () => 3)
    metrics.gauge('queued', () => 5)
    const found = await scrape(metrics)
    expect(found.get('linkwright_operations_running')).toBe(3)
    expect(found.get('linkwright_operations_queued')).toBe(5)
    expect(found.has('linkwright_dhcp_leases')).toBe(false)
    expect(found.has('linkwright_connections')).toBe(false)
    expect(found.get(`linkwright_build_info{version="1.2.3",node="${process.version}"}`)).toBe(1)
  })

  test('the process: its memory, descriptors and start', async () => {
    const found = await scrape(new Metrics())
    expect(found.get('process_resident_memory_bytes')).toBeGreaterThan(10 << 20)
    expect(found.get('process_open_fds')).toBeGreaterThan(2)
    expect(found.get('process_max_fds')).toBeGreaterThanOrEqual(found.get('process_open_fds')!)
    expect(found.get('process_start_time_seconds')).toBeLessThanOrEqual(Date.now() / 1000)
    expect(found.get('process_start_time_seconds')).toBeGreaterThan(Date.now() / 1000 - 3600)
  })

  test('a loop that stands still is seen, once', async () => {
    await scrape(new Metrics())
    const worst = async () =>
      samples(await open!.text()).get('linkwright_event_loop_delay_seconds{quantile="1"}')!
    const turns = async (milliseconds: number) => {
      for (const end = performance.now() + milliseconds; performance.now() < end; )
        await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await turns(60)
    for (const end = performance.now() + 400; performance.now() < end; );
    await turns(60)
    const first = await worst()
    expect(first).toBeGreaterThan(0.25)
    await turns(60)
    expect(await worst()).toBeLessThan(first)
  })
})
