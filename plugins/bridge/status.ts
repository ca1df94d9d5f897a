import { CniError, codes } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { nftables } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import { masqueradeStatus } from '../shared/masquerade.ts'
import type { BridgeConf } from './conf.ts'
import { checkConf } from './plan.ts'

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** Whether an ADD could work now. @throws CniError code 50 */
export const bridgeStatus = async (context: Context<BridgeConf>): Promise<void> => {
  const { conf, host, hostNetns, ipam } = context
  checkConf(conf, ipam !== null)
  const found = await findLink(host, conf.bridge)
  if (found && found.kind !== 'bridge')
    throw notAvailable(
      `${JSON.stringify(conf.bridge)} already exists but is not a bridge`,
      `it is: ${found.kind ?? 'hardware'}`,
    )
  if (conf.macspoofchk && !(await nftables.usable(hostNetns)))
    throw notAvailable('macspoofchk needs nf_tables, which this kernel does not have')
  await masqueradeStatus(context)
  await ipam?.status()
}
