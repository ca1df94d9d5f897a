/** A container on a wire of its own, what limits its traffic, and traffic. */
import { readFileSync } from 'node:fs'
import type { JsonObject } from '../../../cni/types.ts'
import { link, qdisc } from '../../../netlink/index.ts'
import type { PrintedResult } from '../../support/plugin.ts'
import type { Container, Space } from '../../support/space.ts'
import { eventually } from '../../support/wait.ts'
import { type Node, node } from './node.ts'

/** 4 and 3.2 MBit/s; 750 kB at once. A full queue takes 1.5 seconds and more to empty. */
export const limits = {
  type: 'bandwidth',
  ingressRate: 4_000_000,
  ingressBurst: 6_000_000,
  egressRate: 3_200_000,
  egressBurst: 6_000_000,
} as const satisfies JsonObject
/** The same in bytes. */
export const INTO = limits.ingressRate / 8
export const OUT = limits.egressRate / 8
export const BURST = limits.ingressBurst / 8

export const wire = (address: string, gateway: string): JsonObject => ({
  type: 'ptp',
  ipam: { type: 'static', addresses: [{ address, gateway }] },
})

export interface Wired {
  readonly it: Node
  readonly container: Container
  /** Of the plugin before. */
  readonly prevResult: PrintedResult
  /** The host's end. */
  readonly veth: string
}

export const wired = async (conf = wire('10.9.0.5/24', '10.9.0.1')): Promise<Wired> => {
  const it = await node()
  const container = await it.host.container()
  const prevResult = await it.add(conf, { container })
  return {
    it,
    container,
    prevResult,
    veth: prevResult.interfaces!.find(({ name }) => name.startsWith('veth'))!.name,
  }
}

interface Qdisc {
  readonly dev: string
  readonly kind: string
  readonly handle: string
  readonly bytes: number
  readonly options: Readonly<Record<string, unknown>>
}

/** What `tc` shows but the kernel's own. */
export const qdiscs = async (space: Space): Promise<Qdisc[]> => {
  const all = JSON.parse(await space.must('tc', ['-j', '-s', 'qdisc', 'show'])) as Qdisc[]
  return all.filter(({ handle }) => handle !== '0:')
}

/** The IFBs of a namespace. */
export const ifbs = async (
  space: Space,
): Promise<{ readonly ifname: string; readonly address: string; readonly ifalias?: string }[]> =>
  space.ipJson('link', 'show', 'type', 'ifb')

/** What there is of limits: nothing after a DEL. */
export const remains = async (space: Space): Promise<string[]> => [
  ...(await qdiscs(space)).map(({ dev, kind }) => `${kind} of ${dev}`),
  ...(await ifbs(space)).map(({ ifname }) => ifname),
]

/** Everything about limits, to see that nothing changes. */
export const shown = async (space: Space, veth: string): Promise<string> => {
  const script = [
    'tc qdisc show',
    `for dev in ${veth} $(ip -o link show type ifb | cut -d: -f2); do`,
    '  tc class show dev $dev; tc filter show dev $dev; tc filter show dev $dev ingress',
    'done',
    'ip -o link show type ifb',
  ]
  return await space.must('sh', ['-ec', script.join('\n')])
}

/** IP packets of this size, as IPv4 counts them. */
export const PACKET = 1428
/** Of its header of Ethernet, which a limit counts, too. */
const FRAME = 14

/**
 * Sends packets as fast as they are taken. What waits in the kernel is charged to its socket, so there are many of them.
 */
const sender = `
const dgram = require('node:dgram')
const [address, sockets, each] = process.argv.slice(1)
const payload = Buffer.alloc(${PACKET} - 28)
for (let i = 0; i < Number(sockets); i++) {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4')
  let left = Number(each)
  for (let n = left; n > 0; n--) socket.send(payload, 9, address, () => { if (--left === 0) socket.close() })
}
`

/** Sends 2.3 MB of UDP, or fewer packets. */
export const pour = async (from: Space, address: string, sockets = 16, each = 100): Promise<void> => {
  await from.must(process.execPath, ['-e', sender, address, String(sockets), String(each)])
}

/** What IPv4 has received in a namespace, in bytes. */
export const received = ({ pid }: Space): number => {
  const lines = readFileSync(`/proc/${pid}/net/netstat`, 'utf8').split('\n')
  const [names = '', numbers = ''] = lines.filter((line) => line.startsWith('IpExt:'))
  return Number(numbers.split(' ')[names.split(' ').indexOf('InOctets')])
}

/**
 * Bytes a second on the wire that come to a namespace: while what is waiting at a link goes there, and whoever sends may
 * be as late as it likes.
 * @param share of a second to look
 */
export const rateAt = async (
  { netns }: Node,
  dev: string,
  space: Space,
  rate: number,
  sending: Promise<void>,
  share = 0.5,
): Promise<number> => {
  const enough = rate * share
  using connection = netns.connect()
  const { index } = await connection.run(link.get(dev))
  await eventually('enough is waiting', async () => {
    const all = await connection.run(qdisc.list({ index }))
    return all.some(({ statistics }) => (statistics?.backlog ?? 0) > enough * 1.1)
  })
  const start = performance.now()
  const before = received(space)
  await eventually('it has come', () => received(space) >= before + enough)
  const seconds = (performance.now() - start) / 1000
  const measured = ((received(space) - before) / seconds) * ((PACKET + FRAME) / PACKET)
  await sending
  return measured
}
