/** IPAM plugins: what decides which addresses an attachment gets. */
import type { AnyPlugin } from '../cni/plugin.ts'
import { dhcp } from './dhcp/plugin.ts'
import { hostLocal } from './host-local/plugin.ts'
import { staticIpam } from './static.ts'

export { createDhcp, type DhcpOptions, dhcp } from './dhcp/plugin.ts'
export { createHostLocal, type HostLocalOptions, hostLocal } from './host-local/plugin.ts'
export { staticIpam } from './static.ts'

/** All of them, for a host's list of plugins. */
export const ipamPlugins: readonly AnyPlugin[] = [dhcp, hostLocal, staticIpam]
