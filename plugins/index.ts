/** All plugins: `import { bridge, plugins } from 'linkwright/plugins'`. */
import type { Plugins } from '../cni/plugin.ts'
import { ipamPlugins } from '../ipam/index.ts'
import { bridge } from './bridge/index.ts'
import { loopback } from './loopback.ts'
import { macvlan } from './macvlan.ts'
import { ptp } from './ptp/index.ts'

export { bridge } from './bridge/index.ts'
export { loopback } from './loopback.ts'
export { macvlan } from './macvlan.ts'
export { ptp } from './ptp/index.ts'

/** Everything that runs in process, by its type; IPAM plugins included. */
export const plugins: Plugins = new Map(
  [bridge, loopback, macvlan, ptp, ...ipamPlugins].map((plugin) => [plugin.type, plugin]),
)
