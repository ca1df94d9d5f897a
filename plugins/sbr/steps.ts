/** The plan of an ADD as steps, each with what takes it back. */
import type { Step } from '../../cni/undo.ts'
import { type Connection, isErrno, type Route, route, rule } from '../../netlink/index.ts'
import { prefixOf, type Source } from './sources.ts'

/** Whether there is nothing (any more) to be removed. */
export const isGone = (error: unknown): boolean => isErrno(error, 'ENOENT', 'ESRCH', 'ENODEV')

/** What deletes a route that was listed, and no other to the same destination. */
export const deletion = (found: Route) =>
  route.delete({
    ...route.restate(found),
    ...{ metrics: undefined, flags: undefined, preference: undefined, expires: undefined, realms: undefined },
  })

const tolerantly =
  (connection: Connection, request: Step['request'], tolerated: (error: unknown) => boolean) =>
  async (): Promise<void> => {
    try {
      await connection.run(request)
    } catch (error) {
      if (!tolerated(error)) throw error
    }
  }

/** Sends what comes from the source to the table. Where the rule is there already it stays, whatever happens. */
export const ruleStep = (connection: Connection, source: Source, table: number): Step => {
  const options = { from: prefixOf(source), table }
  return {
    request: rule.add(options),
    undo: [`delete rule from ${source.ip}`, tolerantly(connection, rule.delete(options), isGone)],
    tolerate: ['EEXIST'],
  }
}

/** Goes behind what is there. A route that the main table and the result tell of alike is one. */
export const addStep = (connection: Connection, options: route.RouteOptions): Step => {
  const { metrics, flags, preference, expires, realms, ...which } = options
  return {
    request: route.append(options),
    undo: [
      `delete route ${options.dst} of table ${options.table ?? 'main'}`,
      tolerantly(connection, route.delete(which), isGone),
    ],
    tolerate: ['EEXIST'],
  }
}

/** Takes a route away. One of the kernel's may have gone with its address. */
export const leaveStep = (connection: Connection, found: Route): Step => ({
  request: deletion(found),
  undo: [
    `give route ${found.dst} back`,
    tolerantly(connection, route.add({ ...route.restate(found), mode: 'create' }), (error) =>
      isErrno(error, 'EEXIST'),
    ),
  ],
  tolerate: ['ESRCH'],
})
