import type { Attachment, Context } from '../../cni/plugin.ts'
import type { Interface, IpConfig, Result } from '../../cni/types.ts'
import { compareVersions } from '../../cni/version.ts'
import type { Link } from '../../netlink/index.ts'

/**
 * Whether results tell MTUs: `mtu` of an interface came with spec 1.1.0. The library of the Go plugins prints it in 1.0.0
 * as well, and so passes on what a plugin of others has put there, but none of the Go plugins does.
 */
export const tellsMtu = ({ cniVersion }: Pick<Context<unknown>, 'cniVersion'>): boolean =>
  compareVersions(cniVersion, '1.1.0') >= 0

/**
 * An interface as the result tells of it.
 * @param sandbox CNI_NETNS where it is in the container
 */
export const interfaceEntry = (
  context: Pick<Context<unknown>, 'cniVersion'>,
  { name, address, mtu }: Pick<Link, 'name' | 'address' | 'mtu'>,
  sandbox?: string,
): Interface => ({ name, mac: address, mtu: tellsMtu(context) ? mtu : undefined, sandbox })

/**
 * The addresses of the attachment's interface: those that say so, and those that name no interface. Plugins behind may
 * have added those of theirs.
 */
export const ownAddresses = (
  { interfaces = [], ips = [] }: Result,
  { ifName }: Pick<Attachment<unknown>, 'ifName'>,
): readonly IpConfig[] =>
  ips.filter(({ interface: index }) => {
    const entry = index === undefined ? undefined : interfaces[index]
    // The path of the namespace may be another one by now; what has none is the host's.
    return !entry || (entry.name === ifName && !!entry.sandbox)
  })
