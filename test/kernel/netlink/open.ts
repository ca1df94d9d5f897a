import { onTestFinished } from 'vitest'
import { type Connection, link, Netns, type Request } from '../../../netlink/index.ts'
import { type Space, space } from '../../support/space.ts'

/** A private namespace: as the library has it, and as `ip` has it. */
export interface Place {
  readonly space: Space
  readonly netns: Netns
  readonly conn: Connection
}

/** Opens a new private namespace until the end of the test. IPv6 is off for links made in it, unless asked for. */
export const place = async ({ ipv6 = false } = {}): Promise<Place> => {
  const own = await space()
  const netns = Netns.open(own.path)
  const conn = netns.connect()
  onTestFinished(() => {
    conn.close()
    netns.close()
  })
  await conn.run(link.get('lo'))
  if (!ipv6) {
    const [outcome] = netns.writeSysctls([{ name: 'net/ipv6/conf/default/disable_ipv6', value: '1' }])
    if (outcome instanceof Error) throw outcome
  }
  return { space: own, netns, conn }
}

/** Runs requests in one datagram; all have to succeed. */
export const all = async (conn: Connection, ...requests: Request<unknown>[]): Promise<void> => {
  for (const outcome of await conn.batch(requests)) if (!outcome.ok) throw outcome.error
}

/** Some of what `ip -j -d link show` says of a link. */
export interface ShownLink extends Readonly<Record<string, unknown>> {
  readonly flags: readonly string[]
  readonly linkinfo?: Readonly<Record<string, unknown>>
}

/** What `ip -j -d link show` says of a link. */
export const ipLink = async (own: Space, name: string): Promise<ShownLink> => {
  const [found] = await own.ipJson<ShownLink>('-d', 'link', 'show', 'dev', name)
  if (!found) throw new Error(`ip shows no link ${name}`)
  return found
}

/** How many rtnetlink sockets are open in a namespace, whoever holds them. One counts once it was used. */
export const netlinkSockets = async (own: Space): Promise<number> => {
  const lines = (await own.must('cat', ['/proc/net/netlink'])).trim().split('\n').slice(1)
  return lines.filter((line) => line.trim().split(/\s+/)[1] === '0').length
}
