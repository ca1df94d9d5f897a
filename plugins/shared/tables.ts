/** Routing tables that nobody uses, for plugins that need one of their own. */
import type { Link, Route, Rule } from '../../netlink/index.ts'

/** Tables that every namespace has: RT_TABLE_UNSPEC, COMPAT, DEFAULT, MAIN and LOCAL, linux/rtnetlink.h. */
export const isCommonTable = (id: number): boolean => id === 0 || (id >= 252 && id <= 255)

/** Where tables in use are looked for. */
export interface InUse {
  readonly rules: readonly Rule[]
  /** Of all tables. */
  readonly routes: readonly Route[]
  /** VRFs have tables, too. */
  readonly links: readonly Link[]
}

/** The first numbers from `from` on that no rule, no route and no VRF knows. */
export const freeTables = ({ rules, routes, links }: InUse, from: number, count: number): number[] => {
  const used = new Set<number | undefined>([
    ...rules.map(({ table }) => table),
    ...routes.map(({ table }) => table),
    ...links.map((found) => (found.kind === 'vrf' ? found.data?.table : undefined)),
  ])
  const free: number[] = []
  for (let id = from; free.length < count; id++) if (!used.has(id) && !isCommonTable(id)) free.push(id)
  return free
}
