/**
 * What two implementations have come to, made comparable: facts that differ from run to run go, and so do the
 * deliberate differences of ours, each with its reason. docs/differences.md tells them to users.
 */
import { binDirs, type PluginRun } from '../../support/plugin.ts'
import { isNewFor, mustPeerOf, type Played, play, type Scenario, side } from './sides.ts'

type Json = Record<string, unknown>

/** One run, as far as it is compared. */
interface ComparedRun {
  status: number | null
  result: Json | null
  error: Json | null
}
export interface Compared {
  readonly runs: Record<string, ComparedRun>
  readonly states: Record<string, Record<string, unknown[]>>
  readonly files: Record<string, string>
}

interface PrintedLink extends Json {
  ifname: string
  address?: string
  master?: string
  linkinfo?: { info_kind?: string; info_data?: Json; info_slave_data?: Json }
  addr_info: Json[]
}

const without = (object: Json, keys: readonly string[]): Json =>
  Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)))

/** A change of every value of a kind, wherever it is. */
interface Difference {
  readonly why: string
  /** Go's have come to do the same. */
  readonly gone?: boolean
  readonly link?: (link: PrintedLink) => Json
  readonly result?: (result: Json) => Json
  readonly sysctl?: (line: string) => boolean
  readonly fdb?: (entry: Json) => boolean
  /** Of what is about a bridge's port: routes, and entries of the fdb. */
  readonly port?: (entry: Json) => boolean
  readonly error?: (error: Json) => Json
}

const interfaces = (result: Json, change: (one: Json) => Json): Json =>
  Array.isArray(result.interfaces) ? { ...result, interfaces: result.interfaces.map(change) } : result
const isKind = (link: PrintedLink, kind: string): boolean => link.linkinfo?.info_kind === kind

const differences: readonly Difference[] = [
  {
    why: 'results of 1.1.0 tell MTUs, as the specification has it',
    result: (result) =>
      result.cniVersion === '1.1.0' ? interfaces(result, (one) => without(one, ['mtu'])) : result,
  },
  {
    why: 'veth pairs keep the usual length of the transmit queue; Go sets 0 by accident',
    link: (link) => (isKind(link, 'veth') ? without(link, ['txqlen']) : link),
  },
  {
    why: 'veth pairs have the one queue that is used; what Go leaves to the kernel depends on its processors',
    link: (link) => (isKind(link, 'veth') ? without(link, ['num_tx_queues', 'num_rx_queues']) : link),
  },
  {
    why: 'ports have no link-local address: what comes in by them is the bridge’s',
    link: (link) =>
      link.master === undefined
        ? link
        : { ...link, addr_info: link.addr_info.filter(({ scope }) => scope !== 'link') },
    sysctl: (line) => !/^ipv6\/conf\/veth(#\d+)?\/addr_gen_mode=1$/.test(line),
    port: ({ dst, mac }) => !/^(fe80:|LL|GROUP|33:33:ff:)/.test(String(dst ?? mac)),
  },
  {
    why: "the host's end says by its alias whose it is, for DEL without a namespace, GC and people",
    link: (link) => without(link, ['ifalias']),
  },
  {
    why: 'addresses of IPAM are nobody else’s: IPv6 ones are not probed (nodad) unless enabledad',
    link: (link) => ({ ...link, addr_info: link.addr_info.map((own) => without(own, ['nodad'])) }),
  },
  {
    why: 'the bridge has a MAC of its own from the beginning; Go’s has that of its first port',
    link: (link) => (isKind(link, 'bridge') ? without(link, ['address']) : link),
    result: (result) =>
      interfaces(result, (one) =>
        one.sandbox === undefined && !/^veth/.test(String(one.name)) ? without(one, ['mac']) : one,
      ),
    fdb: ({ flags, state }) => !(state === 'permanent' && Array.isArray(flags) && flags.length === 0),
  },
  {
    why: "router advertisements are refused on the interface of a VLAN's gateway; Go does so on its port, where none come",
    sysctl: (line) => !/^ipv6\/conf\/(cni0\.100|veth(#\d+)?)\/accept_ra=0$/.test(line),
  },
  {
    why: 'errors name the version they are of, as the specification has it, and tell what to do in their details',
    error: (error) => without(error, ['cniVersion', 'details']),
  },
  {
    why: 'IPv6 addresses stay when the interface goes down for a while; Go’s do so since 1.2',
    gone: true,
    sysctl: (line) => !line.endsWith('keep_addr_on_down=1'),
  },
  {
    why: 'an empty dns is left out of results of 1.x; Go does so since 1.3',
    gone: true,
    result: (result) =>
      Object.keys((result.dns as Json | undefined) ?? {}).length === 0 ? without(result, ['dns']) : result,
  },
]

const differencesOf = (scenario: Scenario): readonly Difference[] =>
  isNewFor(scenario) ? differences.filter(({ gone }) => !gone) : differences

/** Names and MACs by chance in a result, and the ids and link-local addresses that follow from MACs. */
const steadyResult = (result: Json, keepMac: boolean): Json =>
  interfaces(result, (one) => ({
    ...one,
    name: String(one.name).replace(/^veth[0-9a-f]{8}$/, 'veth'),
    mac: one.mac !== undefined && !(keepMac && one.sandbox !== undefined) ? 'MAC' : one.mac,
  }))

const steadyText = (text: string): string =>
  text
    .replace(/\bfe80:[0-9a-f:]+\b/g, (ip) => (/::$/.test(ip) ? ip : 'LL'))
    .replace(/\bLL#\d+/g, 'LL')
    .replace(/33:33:ff(:[0-9a-f]{2}){3}|GROUP#\d+/g, 'GROUP')

/** The built-in chains of iptables' tables without a rule: looking for rules, Go makes them. */
const withoutEmptyTables = (lines: readonly string[], begin: RegExp, end: string, rule: RegExp): string[] => {
  const kept: string[] = []
  let table: string[] | undefined
  for (const line of lines) {
    if (begin.test(line)) table = []
    ;(table ?? kept).push(line)
    if (!table || line !== end) continue
    if (table.some((one) => rule.test(one))) kept.push(...table)
    table = undefined
  }
  return kept
}

/** The order of two containers' veth pairs and MACs is by chance. */
const unordered = (text: string): string => text.replace(/\b(veth|MAC)#\d+/g, '$1')

/** A bridge tells that it lost its last port within a second, and whether it tells that it got one is by chance. */
const noCarrier = new Set(['NO-CARRIER', 'LOWER_UP', 'linkdown'])
const ids = ['bridge_id', 'root_id', 'designated_root', 'designated_bridge']

const steadyLink = (link: PrintedLink, afterDel: boolean): PrintedLink => {
  const { info_data: data, info_slave_data: port, ...info } = link.linkinfo ?? {}
  return {
    ...(isKind(link, 'bridge')
      ? (without(link, afterDel ? ['operstate', 'flags'] : ['operstate']) as PrintedLink)
      : link),
    linkinfo: {
      ...info,
      ...(data ? { info_data: without(data, ids) } : {}),
      // Identifiers and port numbers count up in the order of the attachments.
      ...(port ? { info_slave_data: without(port, [...ids, 'id', 'no', 'designated_port']) } : {}),
    },
  }
}

const byText = (a: unknown, b: unknown): number => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)
const reparsed = <T>(value: T, change: (text: string) => string): T =>
  JSON.parse(change(JSON.stringify(value))) as T

/** When the kernel gives an interface a link-local address of its own, before or after others of that scope, is by chance. */
const withLinkLocalLast = (link: unknown): unknown => {
  const { addr_info: all, ...more } = link as PrintedLink
  const isLocal = (own: Json): boolean => own.scope === 'link'
  return { ...more, addr_info: [...all.filter((own) => !isLocal(own)), ...all.filter(isLocal).sort(byText)] }
}

const run = ({ status, result, error }: PluginRun, scenario: Scenario): ComparedRun => {
  let printed = result as Json | null
  let refused = error as Json | null
  for (const { result: change, error: changeError } of differencesOf(scenario)) {
    if (printed && change) printed = change(printed)
    if (refused && changeError) refused = changeError(refused)
  }
  return {
    status,
    result: printed && steadyResult(printed, scenario.keepContainerMac ?? false),
    error: refused,
  }
}

export const comparable = (played: Played, scenario: Scenario): Compared => {
  const containerMacs = Object.values(played.runs).flatMap(
    ({ result }) => result?.interfaces?.flatMap(({ mac, sandbox }) => (mac && sandbox ? [mac] : [])) ?? [],
  )
  const text = (value: string): string =>
    containerMacs.reduce((done, mac) => done.replaceAll(mac, 'CONTAINER-MAC'), unordered(steadyText(value)))
  const states = Object.entries(played.states).map(([when, state]) => {
    const afterDel = when.includes('DEL')
    let links = (state.links as PrintedLink[]).map((link) => steadyLink(link, afterDel))
    let { sysctls } = state
    let fdb = state.fdb as Json[]
    let routes = (state.routes as Json[]).map(
      (route): Json => ({
        ...route,
        flags: (route.flags as string[]).filter((flag) => !(afterDel && noCarrier.has(flag))),
      }),
    )
    const ports = new Set(links.flatMap(({ ifname, master }) => (master === undefined ? [] : [ifname])))
    for (const { link, sysctl, fdb: keep, port } of differencesOf(scenario)) {
      if (link) links = links.map(link) as PrintedLink[]
      if (sysctl) sysctls = sysctls.filter(sysctl)
      if (keep) fdb = fdb.filter(keep)
      if (!port) continue
      fdb = fdb.filter((entry) => !ports.has(String(entry.ifname)) || port(entry))
      routes = routes.filter((route) => !ports.has(String(route.dev)) || port(route))
    }
    const iptables = withoutEmptyTables(state.iptables, /^\*nat$/, 'COMMIT', /^-A|^:CNI/)
    const nft = withoutEmptyTables(
      state.nft.filter((line) => !line.startsWith('# Warning')),
      /^table ip6? nat/,
      '}',
      /^\t\t(?!type)|chain CNI/,
    )
    const all = reparsed({ ...state, links, routes, fdb, sysctls, iptables, nft }, text) as unknown as Record<
      string,
      unknown[]
    >
    all.links = all.links?.map(withLinkLocalLast) ?? []
    for (const part of ['links', 'routes', 'fdb', 'neighbours', 'vlans', 'sysctls']) all[part]?.sort(byText)
    return [when, all] as const
  })
  return {
    runs: Object.fromEntries(Object.entries(played.runs).map(([step, one]) => [step, run(one, scenario)])),
    states: Object.fromEntries(states),
    files: played.files,
  }
}

/** A scenario played by both, each on a node of its own. */
export const playBoth = async (scenario: Scenario): Promise<{ go: Compared; ours: Compared }> => {
  const played = async (dir: string) => comparable(await play(await side(dir), scenario), scenario)
  const [go, ours] = await Promise.all([played(mustPeerOf(scenario)), played(binDirs.ours)])
  return { go, ours }
}
