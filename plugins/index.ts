/** All plugins: `import { bridge, plugins } from 'linkwright/plugins'`. */
import type { Plugins } from '../cni/plugin.ts'
import { ipamPlugins } from '../ipam/index.ts'
import { bandwidth } from './bandwidth/index.ts'
import { bridge } from './bridge/index.ts'
import { dummy } from './dummy.ts'
import { firewall } from './firewall/index.ts'
import { flannel } from './flannel/index.ts'
import { hostDevice } from './host-device/index.ts'
import { ipvlan } from './ipvlan.ts'
import { loopback } from './loopback.ts'
import { macvlan } from './macvlan.ts'
import { portmap } from './portmap/index.ts'
import { ptp } from './ptp/index.ts'
import { sbr } from './sbr/index.ts'
import { tap } from './tap.ts'
import { tuning } from './tuning/index.ts'
import { vlan } from './vlan.ts'
import { vrf } from './vrf/index.ts'

export { bandwidth } from './bandwidth/index.ts'
export { bridge } from './bridge/index.ts'
export { dummy } from './dummy.ts'
export { firewall } from './firewall/index.ts'
export { flannel } from './flannel/index.ts'
export { hostDevice } from './host-device/index.ts'
export { ipvlan } from './ipvlan.ts'
export { loopback } from './loopback.ts'
export { macvlan } from './macvlan.ts'
export { portmap } from './portmap/index.ts'
export { ptp } from './ptp/index.ts'
export { sbr } from './sbr/index.ts'
export { tap } from './tap.ts'
export { tuning } from './tuning/index.ts'
export { vlan } from './vlan.ts'
export { vrf } from './vrf/index.ts'

/** Everything that runs in process, by its type; IPAM plugins included. */
export const plugins: Plugins = new Map(
  [
    bandwidth,
    bridge,
    dummy,
    firewall,
    flannel,
    hostDevice,
    ipvlan,
    loopback,
    macvlan,
    portmap,
    ptp,
    sbr,
    tap,
    tuning,
    vlan,
    vrf,
    ...ipamPlugins,
  ].map((plugin) => [plugin.type, plugin]),
)
