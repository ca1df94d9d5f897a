/** Messages that get lost or come twice, by nftables on the LAN's bridge: below every packet socket of the LAN's users. */
import { randomBytes } from 'node:crypto'
import { eventually } from '../wait.ts'
import { atEnd } from './ending.ts'
import { type Type4, type Type6, types4, types6 } from './frame.ts'
import { type Segment, serverMac } from './segment.ts'

/** Which messages. Those of DHCPv4 and of DHCPv6, where neither `types` nor `types6` is given. */
export interface Traffic {
  /** DHCPv4 messages of these types. Their option 53 has to be the first, as it is in everybody's. */
  readonly types?: readonly Type4[] | undefined
  /** DHCPv6 messages of these types. */
  readonly types6?: readonly Type6[] | undefined
  /** Default: both. */
  readonly direction?: 'to-server' | 'to-client' | undefined
  /** Only DHCPv4 messages of the client with this hardware address, to it or from it. */
  readonly chaddr?: string | undefined
  /** More that has to be so, in nft's words: `ether saddr 02:00:00:00:00:01`. */
  readonly match?: string | undefined
  /** So many of them pass untouched before it begins. Default 0. */
  readonly after?: number | undefined
  /** Then so many are hit, at least 1, and no more. Default: all. */
  readonly first?: number | undefined
  /** Of those, how many: 0.3 for about three in ten. Default 1. */
  readonly chance?: number | undefined
}

/** A rule in the LAN. */
export interface Rule {
  /** How many messages it hit so far. */
  hits(): Promise<number>
  /** Waits until it has hit `count` of them. `deadline` in milliseconds. */
  hit(count: number, deadline?: number): Promise<void>
  /** Takes it away, as the end of the test does. Safe to repeat. */
  remove(): Promise<void>
}

const set = (values: readonly (string | number)[]): string => `{ ${values.join(', ')} }`

/** Offsets in bits from the UDP header: chaddr, the first option behind the magic cookie, the type of DHCPv6. */
const CHADDR = (8 + 28) * 8
const FIRST_OPTION = (8 + 240) * 8
const TYPE6 = 8 * 8

/** What has to be so of a message, an alternative each. */
const alternatives = ({ types, types6: sorts, direction, chaddr, match = '' }: Traffic): string[] => {
  const towards = (server: number, client: number): string =>
    `udp dport ${set([...(direction === 'to-client' ? [] : [server]), ...(direction === 'to-server' ? [] : [client])])}`
  const option53 = (type: Type4): string => `0x3501${types4[type].toString(16).padStart(2, '0')}`
  const v4 = [
    `ether type ip ${towards(67, 68)}`,
    ...(types ? [`@th,${FIRST_OPTION},24 ${set(types.map(option53))}`] : []),
    ...(chaddr ? [`@th,${CHADDR},48 0x${chaddr.replaceAll(':', '')}`] : []),
    match,
  ]
  const v6 = [
    `ether type ip6 ${towards(547, 546)}`,
    ...(sorts ? [`@th,${TYPE6},8 ${set(sorts.map((type) => types6[type]))}`] : []),
    match,
  ]
  return [...(types || !sorts ? [v4.join(' ')] : []), ...(sorts || !(types || chaddr) ? [v6.join(' ')] : [])]
}

/** Which of the messages that match are hit: one count for all alternatives. */
const share = ({ after = 0, first, chance = 1 }: Traffic): string => {
  const all = 0x7fffffff
  const last = first === undefined ? all - 1 : after + first - 1
  return [
    ...(after > 0 || first !== undefined ? [`numgen inc mod ${all} { ${after}-${last} }`] : []),
    ...(chance < 1 ? [`numgen random mod 1000 < ${Math.round(chance * 1000)}`] : []),
  ].join(' ')
}

/** Puts a table of its own into the LAN. */
const apply = async (lan: Segment, family: string, chains: readonly string[]): Promise<Rule> => {
  const table = `${family} t${randomBytes(4).toString('hex')}`
  const remove = async () => {
    await lan.space.run('nft', ['delete', 'table', ...table.split(' ')])
  }
  await lan.space.must('nft', ['-f', '-'], {
    input: `table ${table} {\ncounter hits {}\n${chains.join('\n')}\n}\n`,
  })
  atEnd(remove)
  const hits = async () => {
    const [counter] = await lan.space.nftJson<{ counter: { packets: number } }>(
      ...['list', 'counter', ...table.split(' '), 'hits'],
    )
    return counter!.counter.packets
  }
  return {
    hits,
    hit: async (count, deadline) => {
      await eventually(`${count} messages are hit`, async () => (await hits()) >= count, deadline)
    },
    remove,
  }
}

/** A base chain that sends what matches to the chain `hit`. */
const chain = (traffic: Traffic, hook: string, first: readonly string[] = [], device = ''): string => {
  const jumps = alternatives(traffic).map((match) => `${match} jump hit`)
  const rules = [...first, ...jumps].join('\n')
  return `chain ${hook} { type filter hook ${hook} ${device} priority 0\n${rules}\n}`
}

/** The messages do not arrive: none of their receivers sees them, on whatever port it is. */
export const dropping = (lan: Segment, traffic: Traffic = {}): Promise<Rule> =>
  apply(lan, 'bridge', [
    `chain hit {\n${share(traffic)} counter name hits drop\n}`,
    // Each frame comes into the LAN once: by a port, or from the server's side.
    ...['prerouting', 'output'].map((hook) => chain(traffic, hook)),
  ])

/** The messages to and from the server on the LAN's own interface arrive twice. */
export const duplicating = async (lan: Segment, traffic: Traffic = {}): Promise<Rule> => {
  // A copy comes in by the LAN's anchor. It must not go back to its sender, and teach the bridge nothing.
  await lan.space.ip('link', 'set', 'anchor0', 'type', 'bridge_slave', 'learning', 'off')
  const back = `iifname anchor0 ether saddr != ${serverMac} counter name hits drop`
  const guard = await apply(lan, 'bridge', [
    `chain forward { type filter hook forward priority 0\n${back}\n}`,
  ])
  // A copy carries a mark, which says that it is one.
  const isCopy = ['meta mark 77 return']
  const copies = await apply(lan, 'netdev', [
    `chain hit {\n${share(traffic)} meta mark set 77 counter name hits dup to anchor1\n}`,
    ...['ingress', 'egress'].map((hook) => chain(traffic, hook, isCopy, `device ${lan.interface}`)),
  ])
  return {
    ...copies,
    remove: async () => {
      await copies.remove()
      await guard.remove()
    },
  }
}
