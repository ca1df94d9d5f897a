import type { Netns } from '../../netlink/netns.ts'

const sysctlOf = { 4: 'net/ipv4/ip_forward', 6: 'net/ipv6/conf/all/forwarding' } as const

/**
 * Lets the host forward packets of the families. Nothing takes it back: other attachments may rely on it by then.
 * Equivalent: `sysctl -w net.ipv4.ip_forward=1`.
 * @throws SystemError
 */
export const enableForwarding = (host: Netns, families: Iterable<4 | 6>): void => {
  const writes = [...new Set(families)].map((family) => ({ name: sysctlOf[family], value: '1' }))
  for (const [i, outcome] of host.writeSysctls(writes).entries())
    if (outcome instanceof Error)
      throw new Error(`could not enable forwarding: ${writes[i]!.name}: ${outcome.message}`, {
        cause: outcome,
      })
}

/** The families among `families` that the host does not forward. */
export const notForwarding = (host: Netns, families: Iterable<4 | 6>): (4 | 6)[] =>
  [...new Set(families)].filter((family) => host.readSysctl(sysctlOf[family]) !== '1')
