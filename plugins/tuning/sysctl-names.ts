/** Names of sysctls in configurations, and where they are below `/proc/sys/`. */

/** What a configuration writes for CNI_IFNAME. */
const PLACEHOLDER = 'IFNAME'

/** Families whose settings are kept by interface: `net/ipv4/conf/eth0/arp_filter`. */
const families = ['ipv4', 'ipv6', 'mpls']
const byInterface = ['conf', 'neigh']

/**
 * Whether it is a path below `net/`: anything else is the machine's and not a namespace's. Said of what is written in a
 * file, too, which anybody may have made.
 */
export const isSysctlPath = (path: string): boolean => {
  const [first, ...parts] = path.split('/')
  return (
    first === 'net' &&
    parts.length > 0 &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..' && !part.includes('\0'))
  )
}

/**
 * The interface of a setting may have dots in its name (`eth0.100`), and they are not those between parts. It is what
 * is left between `conf` and the setting, so that it may be written as it is, and as sysctl(8) has it
 * (`net.ipv4.conf.eth0/100.arp_filter`, `net/ipv4/conf/eth0.100/arp_filter`).
 */
const joinInterface = (parts: readonly string[]): readonly string[] => {
  const [net, family = '', by = '', ...more] = parts
  const setting = more.pop()
  if (!families.includes(family) || !byInterface.includes(by) || setting === undefined || more.length < 2)
    return parts
  return [net!, family, by, more.join('.'), setting]
}

/**
 * Where a setting is, below `/proc/sys/`. Parts are separated by dots or slashes; the first `IFNAME` stands for the
 * attachment's interface, dots included.
 * @returns null where that is not below `net/`
 */
export const sysctlPath = (key: string, ifName: string): string | null => {
  const parts = key.split(/[./]/).filter((part) => part !== '')
  const at = parts.findIndex((part) => part.includes(PLACEHOLDER))
  // With a placeholder all names are clear, and there is nothing to join.
  const path =
    at < 0
      ? joinInterface(parts)
      : parts.with(
          at,
          parts[at]!.replace(PLACEHOLDER, () => ifName),
        )
  const joined = path.join('/')
  return isSysctlPath(joined) ? joined : null
}

/** The interface that a setting belongs to, where it is one of those that go with IPv6; null for all others. */
export const ipv6InterfaceOf = (path: string): string | null =>
  /^net\/ipv6\/(?:conf|neigh)\/([^/]+)\//.exec(path)?.[1] ?? null
