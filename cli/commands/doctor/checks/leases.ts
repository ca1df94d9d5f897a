/** Whether leases are kept for those who need it, and whether they are as they should be. */
import type { KeeperFacts } from '../facts/leases.ts'
import {
  count,
  type Finding,
  failure,
  isForbidden,
  listed,
  ok,
  type Seen,
  unseen,
  warning,
} from '../finding.ts'

const checkKeeper = ({ socket, networks, standalone, answer }: KeeperFacts): readonly Finding[] => {
  const id = `dhcp.keeper.${socket}`
  const facts = { socket, networks, standalone }
  const needing = networks.filter((name) => !standalone.includes(name))
  const start = 'start it: systemctl start linkwright, or dhcp daemon in the folder of the plugins'
  if (!answer?.seen) {
    const why = answer ? answer.why : 'there is no such socket'
    if (isForbidden(why)) return [unseen(id, `the leases at ${socket}`, why)]
    const message = `nobody keeps leases at ${socket}: ${why}`
    if (needing.length > 0)
      return [failure(id, `${message} (needed by ${needing.join(', ')})`, { advice: start, facts })]
    if (networks.length > 0)
      return [
        warning(id, `${message}: leases of ${networks.join(', ')} are not renewed`, { advice: start, facts }),
      ]
    return answer
      ? [warning(id, message, { advice: start, facts })]
      : [ok(id, 'no network needs a keeper of leases', { facts })]
  }
  const { status, leases } = answer.value
  const kept = { ...facts, version: status.version, pid: status.pid, leases: leases?.length ?? null }
  if (!leases)
    return [ok(id, `Go's daemon keeps leases at ${socket}; it does not tell which`, { facts: kept })]
  const gone = leases.filter(({ namespace }) => namespace === 'gone')
  const unsound = leases.filter(({ namespace, address }) => namespace === 'there' && address === undefined)
  const names = (some: typeof leases) =>
    listed(some.map(({ network, containerId, ifName, state }) => ({ network, containerId, ifName, state })))
  return [
    ok(id, `${count(leases.length, 'lease')} kept at ${socket} (${status.version})`, { facts: kept }),
    ...(gone.length > 0
      ? [
          warning(
            `dhcp.gone.${socket}`,
            `${count(gone.length, 'lease')} of containers that are gone are kept at ${socket}`,
            {
              advice: `linkwright gc ${[...new Set(gone.map(({ network }) => network))].join(', ')} --keep-live gives them back`,
              facts: names(gone),
            },
          ),
        ]
      : []),
    ...(unsound.length > 0
      ? [
          warning(
            `dhcp.state.${socket}`,
            `${count(unsound.length, 'lease')} at ${socket} without an address`,
            {
              advice: 'does a server answer? dhcp leases, in the folder of the plugins, tells their states',
              facts: names(unsound),
            },
          ),
        ]
      : []),
  ]
}

export const checkKeepers = (keepers: Seen<readonly KeeperFacts[]>): readonly Finding[] =>
  keepers.seen
    ? keepers.value.flatMap(checkKeeper)
    : [unseen('dhcp.keeper', 'keepers of leases', keepers.why)]
