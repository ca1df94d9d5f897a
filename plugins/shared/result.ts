import type { Context } from '../../cni/plugin.ts'
import type { Interface } from '../../cni/types.ts'
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
