/** One limit on one link: the qdisc at its root, for what leaves it. */
import type { Step } from '../../cni/undo.ts'
import {
  type Connection,
  familyOf,
  filter,
  isErrno,
  type Qdisc,
  qdisc,
  type Request,
  type TrafficClass,
  trafficClass,
} from '../../netlink/index.ts'
import type { Limit, Limits, Subnets } from './conf.ts'

/** What is to leave a link, and how fast. */
export interface Shape {
  readonly limit: Limit
  readonly subnets: Subnets | null
  /** In which header field the other side's address is. */
  readonly side: 'src' | 'dst'
}

/** Of packets to the container the other side is the source. */
export const ingressShape = ({ ingress, subnets }: Limits): Shape | null =>
  ingress && { limit: ingress, subnets, side: 'src' }
export const egressShape = ({ egress, subnets }: Limits): Shape | null =>
  egress && { limit: egress, subnets, side: 'dst' }

/** Of the qdisc, as the Go plugin has it. */
export const ROOT = '1:'
/** Classes of the limited and of the rest, and what waits in them; the numbers of the Go plugin 1.5. */
const SHAPED = '1:30'
const REST = '1:1'
const shapedQueue = '30:'
const restQueue = '10:'
/** Bytes a second: no link has them. Also the Go plugin's. */
export const UNLIMITED = 100_000_000_000n
/** Microseconds that it may send in a row, so that no timer slows it down. */
const REST_BURST = 1000

const MAX_U32 = 0xffff_ffff
/** Seconds that a packet may wait, besides what goes at once. */
const LATENCY = 0.025
/** A whole train of TCP segments counts as one packet in a queue, and two are to fit. */
const LEAST_QUEUE = 2 * 65_536
/** Packets. */
const REST_QUEUE = 1000

/** How long the burst takes at the rate, in ticks. Microseconds are cut off, as the Go plugin does, whose CHECK compares. */
const bufferOf = ({ rate, burst }: Limit): number =>
  qdisc.toTicks(Math.floor((burst * 1_000_000) / Number(rate)))

/** Bytes that may wait. */
const queueOf = ({ rate, burst }: Limit): number =>
  Math.min(Math.floor(Number(rate) * LATENCY) + burst, MAX_U32)

/** `tc qdisc add dev LINK root handle 1: tbf rate R burst B latency 25ms` */
export const tbfOf = (limit: Limit): qdisc.Tbf => ({
  rate: limit.rate,
  limit: queueOf(limit),
  buffer: bufferOf(limit),
})

/** Bytes that a class sends in a row: the kernel's own choice, without its complaint that it is large or small. */
const quantumOf = (rate: bigint): number => Math.min(Math.max(Number(rate / 10n), 1514), 200_000)

/** What htb's two classes are. A ceiling above the rate, as the Go plugin has it, would be what holds. */
const classesOf = ({ limit }: Shape): ReadonlyMap<qdisc.Handle, trafficClass.HtbClass> =>
  new Map([
    [SHAPED, { rate: limit.rate, buffer: bufferOf(limit), quantum: quantumOf(limit.rate) }],
    [REST, { rate: UNLIMITED, buffer: qdisc.toTicks(REST_BURST), quantum: quantumOf(UNLIMITED) }],
  ])

const defaultClassOf = ({ shaped }: Subnets): number => (shaped ? 0x1 : 0x30)

/** The filter of a subnet; those of one family share a priority. */
const filterOf = (index: number, { side }: Shape, { shaped }: Subnets, subnet: string) => {
  const isV4 = familyOf(subnet.slice(0, subnet.indexOf('/'))) === 4
  return {
    index,
    parent: ROOT,
    priority: isV4 ? 16 : 15,
    protocol: isV4 ? 'ip' : 'ipv6',
    kind: 'u32',
    data: { classid: shaped ? SHAPED : REST, sel: filter.matchSubnet(side, subnet) },
  } as const satisfies filter.FilterOptions
}

/**
 * Two classes, and filters that tell which packet is of which. Equivalent: `tc qdisc add dev LINK root handle 1: htb
 * default 30`; `tc class add dev LINK parent 1: classid 1:30 htb rate R burst B`; `tc class add dev LINK parent 1: classid
 * 1:1 htb rate 800gbit`; for each subnet `tc filter add dev LINK parent 1: pref 16 protocol ip u32 match ip dst SUBNET
 * flowid 1:1`.
 */
const htbRequests = (index: number, shape: Shape, subnets: Subnets): Request<void>[] => [
  qdisc.add({
    index,
    parent: 'root',
    handle: ROOT,
    kind: 'htb',
    data: { defaultClass: defaultClassOf(subnets) },
  }),
  ...[...classesOf(shape)].map(([handle, data]) =>
    trafficClass.add({ index, parent: ROOT, handle, kind: 'htb', data }),
  ),
  // The default ones are as long as the link's queue, which may be nothing.
  qdisc.add({
    index,
    parent: SHAPED,
    handle: shapedQueue,
    kind: 'bfifo',
    data: { limit: Math.max(queueOf(shape.limit), LEAST_QUEUE) },
  }),
  qdisc.add({ index, parent: REST, handle: restQueue, kind: 'pfifo', data: { limit: REST_QUEUE } }),
  ...subnets.list.map((subnet) => filter.add(filterOf(index, shape, subnets, subnet))),
]

/** Removes a qdisc; that there is none (any more) is no error. */
const removeQdisc = async (connection: Connection, place: qdisc.QdiscPlace): Promise<void> => {
  try {
    await connection.run(qdisc.delete(place))
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'EINVAL', 'ENODEV')) throw error
  }
}

/** A new qdisc as a step whose inverse removes it. */
export const addQdisc = (connection: Connection, options: qdisc.QdiscOptions): Step => ({
  request: qdisc.add(options),
  undo: [
    `delete qdisc ${options.kind} of link ${options.index}`,
    () => removeQdisc(connection, { index: options.index, parent: options.parent, handle: options.handle }),
  ],
})

/** Whether a qdisc at the root is one that this plugin, or the Go one, makes. */
export const isOurs = (root: Qdisc | undefined): boolean =>
  root?.handle === ROOT && (root.kind === 'tbf' || root.kind === 'htb')

/**
 * The steps that give a link its limit.
 * @param present ours of an earlier ADD: its rate is changed in place
 */
export const shapeSteps = (
  connection: Connection,
  index: number,
  { limit, subnets, side }: Shape,
  present: Qdisc | undefined,
): Step[] => {
  const place = { index, parent: 'root', handle: ROOT } as const
  const clear: Step[] = isOurs(present) ? [{ request: qdisc.delete(place) }] : []
  if (!subnets) {
    const wanted = { ...place, kind: 'tbf', data: tbfOf(limit) } as const
    if (present?.kind !== 'tbf' || !present.data || !isOurs(present))
      return [...clear, addQdisc(connection, wanted)]
    const before = { ...place, kind: 'tbf', data: present.data } as const
    const restore = () => connection.run(qdisc.replace(before))
    return [{ request: qdisc.replace(wanted), undo: [`restore the rate of link ${index}`, restore] }]
  }
  const [root, ...rest] = htbRequests(index, { limit, subnets, side }, subnets)
  const undo = [`delete qdisc htb of link ${index}`, () => removeQdisc(connection, place)] as const
  return [...clear, { request: root!, undo }, ...rest.map((request) => ({ request }))]
}

/** What a link has at its root. */
export interface Found {
  readonly root: Qdisc | undefined
  readonly classes: readonly TrafficClass[]
  readonly filters: readonly filter.Filter[]
}

/** Asks for what there is; of classes and filters only htb has any. */
export const readShape = async (
  connection: Connection,
  index: number,
  root: Qdisc | undefined,
): Promise<Found> => {
  if (root?.kind !== 'htb') return { root, classes: [], filters: [] }
  return {
    root,
    classes: await connection.run(trafficClass.list({ index })),
    filters: await connection.run(filter.list({ index, parent: ROOT })),
  }
}

type Difference = readonly [msg: string, details: string]

const differ = (what: string, have: unknown, want: unknown): Difference => [
  `${what} doesn't match`,
  `it is ${have}, the configuration says ${want}`,
]

const htbDifference = (shape: Shape, subnets: Subnets, { root, classes, filters }: Found) => {
  const have = root?.kind === 'htb' ? root.data?.defaultClass : undefined
  const want = defaultClassOf(subnets)
  if (have !== want) return differ('Default class', have, want)
  for (const [handle, { rate, buffer }] of classesOf(shape)) {
    const found = classes.find((one) => one.handle === handle)
    const data = found?.kind === 'htb' ? found.data : undefined
    if (!data) return ['Failed to find class', `there is no class ${handle}`] as const
    if (data.rate !== rate) return differ('Rate', `${data.rate * 8n} bits`, `${rate * 8n} bits`)
    if (data.ceil !== rate) return differ('Ceiling', `${(data.ceil ?? 0n) * 8n} bits`, `${rate * 8n} bits`)
    if (data.buffer !== buffer) return differ('Buffer', data.buffer, buffer)
  }
  const rules = filters.map(ruleOf)
  for (const subnet of subnets.list)
    if (!rules.includes(ruleOf(filterOf(1, shape, subnets, subnet))))
      return ['Failed to find filter', `there is none for ${subnet}`] as const
  return null
}

/** What a u32 filter says, as text to compare. */
const ruleOf = ({ priority, protocol, kind, data }: filter.Filter | filter.FilterOptions): string => {
  const { sel, classid } = kind === 'u32' && data && 'sel' in data ? data : {}
  return JSON.stringify([
    priority,
    protocol,
    classid,
    sel?.map(({ value, mask, offset }) => [value, mask, offset]),
  ])
}

/** How a link differs from its shape; null where it does not. In the words of the Go plugin where that has some. */
export const differenceOf = (shape: Shape, found: Found): Difference | null => {
  const { limit, subnets } = shape
  const { root } = found
  const kind = subnets ? 'htb' : 'tbf'
  if (!root || root.kind !== kind || root.handle !== ROOT)
    return [
      'Failed to find qdisc',
      `it has ${root ? `${root.kind} ${root.handle}` : 'none'}, not ${kind} ${ROOT}`,
    ]
  if (subnets) return htbDifference(shape, subnets, found)
  const want = tbfOf(limit)
  const have = root.kind === 'tbf' ? root.data : undefined
  if (have?.rate !== want.rate)
    return differ('Rate', `${(have?.rate ?? 0n) * 8n} bits`, `${want.rate * 8n} bits`)
  if (have.limit !== want.limit) return differ('Limit', have.limit, want.limit)
  if (have.buffer !== want.buffer) return differ('Buffer', have.buffer, want.buffer)
  return null
}
