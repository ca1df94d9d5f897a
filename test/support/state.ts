import type { Space } from './space.ts'

/** The network state of a namespace, made comparable: see {@link kernelState}. */
export interface KernelState {
  /** `ip -d -j addr`: links with their kind's attributes, and addresses. */
  readonly links: readonly unknown[]
  readonly routes: readonly unknown[]
  readonly rules: readonly unknown[]
  /** Those that somebody entered, not what the kernel has found out. */
  readonly neighbours: readonly unknown[]
  /** `bridge -j vlan`. */
  readonly vlans: readonly unknown[]
  /** `bridge -j fdb` without what was learned from traffic. */
  readonly fdb: readonly unknown[]
  /** `nft list ruleset`, one line each. */
  readonly nft: readonly string[]
  /** `iptables-save` and `ip6tables-save`, one line each. */
  readonly iptables: readonly string[]
  /** Every setting below `net/ipv4/conf` and `net/ipv6/conf` that differs from its interface's default, forwarding. */
  readonly sysctls: readonly string[]
}

interface Link {
  readonly ifindex: number
  readonly ifname: string
  readonly address?: string
}

type Substitution = readonly [from: string | RegExp, to: string]

/** Facts that differ from run to run, by key: identity, time and traffic. */
const passing = new Set([
  'ifindex',
  'link_index',
  'link_netnsid',
  'valid_life_time',
  'preferred_life_time',
  'hello_timer',
  'tcn_timer',
  'topology_change_timer',
  'gc_timer',
  'hold_timer',
  'message_age_timer',
  'forward_delay_timer',
  'confirmed',
  'used',
  'updated',
  'probes',
  'refcnt',
  'handle',
])

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')

/** The link-local address that the kernel makes of a MAC address (EUI-64), as `ip` prints it. */
const linkLocal = (mac: string): string => {
  const b = mac.split(':').map((part) => Number.parseInt(part, 16))
  const groups = [hex(b[0]! ^ 2) + hex(b[1]!), `${hex(b[2]!)}ff`, `fe${hex(b[3]!)}`, hex(b[4]!) + hex(b[5]!)]
  return `fe80::${groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}`
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** Random names (`veth1a2b3c4d`) and MAC addresses get numbers in the order in which their links were made. */
const substitutions = (links: readonly Link[], keepMacs: boolean): Substitution[] => {
  const found: Substitution[] = []
  let veths = 0
  const macs = new Set<string>()
  for (const { ifname, address } of [...links].sort((a, b) => a.ifindex - b.ifindex)) {
    if (/^veth[0-9a-f]{8}$/.test(ifname))
      found.push([new RegExp(`(?<![\\w])${escaped(ifname)}(?![\\w])`, 'g'), `veth#${++veths}`])
    if (address && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(address) && !/^(00:){5}00$/.test(address))
      macs.add(address)
  }
  if (!keepMacs)
    [...macs].forEach((mac, i) => {
      found.push([linkLocal(mac), `LL#${i + 1}`], [mac, `MAC#${i + 1}`])
      found.push([`33:33:ff:${mac.slice(9)}`, `GROUP#${i + 1}`])
      // As iproute2 prints a bridge's id: without leading zeros.
      found.push([mac.replace(/\b0/g, ''), `MAC#${i + 1}`])
    })
  return found
}

const substitute = (text: string, all: readonly Substitution[]): string =>
  all.reduce((done, [from, to]) => done.replaceAll(from, to), text)

const withoutPassing = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutPassing)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key]) => !passing.has(key))
  return Object.fromEntries(kept.map(([key, inner]) => [key, withoutPassing(inner)]))
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)

const readSysctls = async (space: Space): Promise<string[]> => {
  // -s: some (stable_secret) can't be read until they are set.
  const { stdout } = await space.run('grep', [
    '-rs',
    '.',
    '/proc/sys/net/ipv4/ip_forward',
    '/proc/sys/net/ipv4/conf',
    '/proc/sys/net/ipv6/conf',
  ])
  const values = new Map<string, string>()
  for (const line of stdout.split('\n')) {
    const colon = line.indexOf(':')
    if (colon > 0) values.set(line.slice('/proc/sys/net/'.length, colon), line.slice(colon + 1))
  }
  return [...values]
    .filter(([name, value]) => {
      const parts = name.split('/')
      if (parts[1] !== 'conf') return true
      return values.get(`${parts[0]}/conf/default/${parts.slice(3).join('/')}`) !== value
    })
    .map(([name, value]) => `${name}=${value}`)
}

export interface StateOptions {
  /** Leaves MAC addresses as they are, for configurations that choose them. Default false. */
  readonly keepMacs?: boolean | undefined
  /** Further replacements, e.g. a container's id. */
  readonly also?: readonly Substitution[] | undefined
}

/**
 * Everything that an attachment may change in a namespace, as `ip`, `bridge`, `nft`, `iptables-save` and `/proc/sys`
 * tell it, with what differs from run to run taken out: indices, timers, counters, random names and MAC addresses
 * (numbered in the order of their making) and the link-local addresses made of them. Two states are compared with
 * `toEqual`. Wait until {@link settled} first.
 */
export const kernelState = async (space: Space, options: StateOptions = {}): Promise<KernelState> => {
  const lines = async (file: string, args: string[]): Promise<string[]> =>
    (await space.must(file, args)).split('\n')
  const [links, routes4, routes6, rules4, rules6, neighbours, vlans, fdb, nft, ipt, ip6t, sysctls] =
    await Promise.all([
      space.ipJson<Link>('-d', 'addr', 'show'),
      space.ipJson('-4', 'route', 'show', 'table', 'all'),
      space.ipJson('-6', 'route', 'show', 'table', 'all'),
      space.ipJson('-4', 'rule', 'show'),
      space.ipJson('-6', 'rule', 'show'),
      space.ipJson('neigh', 'show'),
      space.bridgeJson('vlan', 'show'),
      space.bridgeJson('fdb', 'show'),
      lines('nft', ['-s', 'list', 'ruleset']),
      lines('iptables-save', []),
      lines('ip6tables-save', []),
      readSysctls(space),
    ])
  const all = [...substitutions(links, options.keepMacs ?? false), ...(options.also ?? [])]
  const json = (value: readonly unknown[]): readonly unknown[] =>
    (JSON.parse(substitute(JSON.stringify(value), all)) as unknown[]).map(withoutPassing).sort(byText)
  const text = (value: readonly string[]): string[] => value.map((line) => substitute(line, all))
  return {
    links: json(links),
    routes: json([...routes4, ...routes6]),
    rules: json([...rules4, ...rules6]),
    neighbours: json(neighbours.filter(({ state }) => JSON.stringify(state).includes('PERMANENT'))),
    vlans: json(vlans),
    fdb: json(fdb.filter(({ state }) => state !== '')),
    nft: text(nft).filter((line) => line.trim() !== ''),
    iptables: text([...ipt, ...ip6t])
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.replace(/ \[\d+:\d+\]$/, '')),
    sysctls: text(sysctls).sort(),
  }
}
