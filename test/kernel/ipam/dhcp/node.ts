/** A node in miniature whose leases are kept in this process, and the LAN that it is plugged into. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Logger } from '../../../../cni/plugin.ts'
import type { JsonObject } from '../../../../cni/types.ts'
import { Journal } from '../../../../ipam/dhcp/journal.ts'
import { Keeper, type KeeperOptions } from '../../../../ipam/dhcp/keeper.ts'
import type { KeptLease, LeaseKeeper } from '../../../../ipam/dhcp/lease-keeper.ts'
import { createDhcp } from '../../../../ipam/dhcp/plugin.ts'
import { Log } from '../../../support/dhcp/journal.ts'
import { type SegmentOptions, segment } from '../../../support/dhcp/segment.ts'
import type { Space } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'
import { node as makeNode, type Node } from '../../plugins/node.ts'

/** A folder that goes with the test; in memory, as /run is. */
export const folder = (): string => {
  const path = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'linkwright-dhcp-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Notes what is logged as `level message`. */
export const noting = (log: Log): Logger => {
  const line = (level: string) => (message: string) => log.push(`${level} ${message}`)
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
}

/** A keeper that ends with the test; what it noted stays in `path`. */
export const makeKeeper = (path: string, options: Partial<KeeperOptions> = {}): Keeper => {
  const keeper = new Keeper({
    journal: new Journal(path),
    log: noting(new Log()),
    software: 'test',
    firstTimeout: 500,
    ...options,
  })
  onTestFinished(() => keeper.stop())
  return keeper
}

/** Lets the node's plugins get their leases from a keeper. */
export const useKeeper = (node: Node, keeper: LeaseKeeper): void => {
  const dhcp = createDhcp({ keeper })
  node.options = { plugins: new Map([...node.plugins, [dhcp.type, dhcp]]) }
}

export interface KeeperNodeOptions extends Partial<KeeperOptions> {
  readonly lan?: SegmentOptions | undefined
}

/** A node with the interface `lan` on a segment, and a keeper for its leases. */
export const keeperNode = async ({ lan: addresses, ...options }: KeeperNodeOptions = {}) => {
  const [node, lan] = await Promise.all([makeNode(), segment(addresses)])
  const plug = await lan.plug(node.host, 'lan')
  const path = folder()
  const log = new Log()
  const keeper = makeKeeper(path, { log: noting(log), hostNetns: node.netns, ...options })
  useKeeper(node, keeper)
  const conf = (ipam: JsonObject = {}, more: JsonObject = {}): JsonObject => ({
    type: 'macvlan',
    master: 'lan',
    ...more,
    ipam: { type: 'dhcp', ...ipam },
  })
  return { node, segment: lan, plug, keeper, log, folder: path, conf }
}

/** The one lease of a keeper, as soon as `matches` holds for it. `deadline` in milliseconds. */
export const kept = (
  keeper: LeaseKeeper,
  matches: (lease: KeptLease) => boolean,
  deadline?: number,
): Promise<KeptLease> =>
  eventually(
    'the lease is as it should be',
    async () => {
      const all = await keeper.list()
      const found = all.find(matches)
      if (!found) throw new Error(JSON.stringify(all))
      return found
    },
    deadline,
  )

/** The counter of an event, once it is at least `least`. */
export const counted = (keeper: LeaseKeeper, event: string, least = 1, deadline?: number): Promise<number> =>
  eventually(
    `${event} counted`,
    async () => {
      const { counters } = await keeper.status()
      if ((counters[event] ?? 0) < least) throw new Error(JSON.stringify(counters))
      return counters[event]
    },
    deadline,
  )

/** IPv4 addresses of an interface, as `10.77.0.5/24`; null where there is no such interface. */
export const ipv4Of = async (space: Space, name = 'eth0'): Promise<string[] | null> => {
  const { status, stdout } = await space.run('ip', ['-j', '-4', 'addr', 'show', 'dev', name])
  if (status !== 0) return null
  const [link] = JSON.parse(stdout || '[]') as {
    addr_info?: readonly { local: string; prefixlen: number }[]
  }[]
  return (link?.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`)
}

/** Until an interface has exactly these IPv4 addresses. */
export const hasIpv4 = (space: Space, expected: readonly string[], deadline?: number): Promise<unknown> =>
  eventually(
    `eth0 has ${expected.join(', ') || 'no address'}`,
    async () => {
      const now = await ipv4Of(space)
      if (JSON.stringify(now) !== JSON.stringify(expected)) throw new Error(JSON.stringify(now))
      return true
    },
    deadline,
  )

/** IPv4 routes of a namespace's main table that nobody but a lease makes: `destination via gateway`, in order. */
export const routesOf = async (space: Space): Promise<string[]> => {
  const all = await space.ipJson<{ dst: string; gateway?: string; protocol?: string; metric?: number }>(
    '-4',
    'route',
    'show',
  )
  return all
    .filter(({ protocol }) => protocol !== 'kernel')
    .map(
      ({ dst, gateway, metric }) =>
        `${dst}${gateway ? ` via ${gateway}` : ''}${metric ? ` metric ${metric}` : ''}`,
    )
    .sort()
}

/** What a keeper has noted: names of files. */
export const notedIn = (path: string): string[] => readdirSync(path).filter((name) => name.endsWith('.json'))

/** How many descriptors of this process are open. */
export const descriptors = (): number => readdirSync('/proc/self/fd').length
