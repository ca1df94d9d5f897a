import { CniError, codes } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { nftables } from '../../netlink/index.ts'
import { findLink } from '../shared/check.ts'
import type { BridgeConf } from './conf.ts'
import { checkConf } from './plan.ts'

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** Whether an ADD could work now. @throws CniError code 50 */
export const bridgeStatus = async ({
  conf,
  host,
  hostNetns,
  exec,
  ipam,
}: Context<BridgeConf>): Promise<void> => {
  checkConf(conf, ipam !== null)
  const found = await findLink(host, conf.bridge)
  if (found && found.kind !== 'bridge')
    throw notAvailable(
      `${JSON.stringify(conf.bridge)} already exists but is not a bridge`,
      `it is: ${found.kind ?? 'hardware'}`,
    )
  const hasNftables = await nftables.usable(hostNetns)
  if (conf.macspoofchk && !hasNftables)
    throw notAvailable('macspoofchk needs nf_tables, which this kernel does not have')
  if (conf.ipMasq && conf.ipMasqBackend === 'nftables' && !hasNftables)
    throw notAvailable('ipMasqBackend is "nftables", but this kernel has no nf_tables')
  if (conf.ipMasq && (conf.ipMasqBackend === 'iptables' || !hasNftables)) {
    const { status, stderr } = await exec('iptables', ['--version']).catch((error: Error) => ({
      status: 127,
      stderr: error.message,
    }))
    if (status !== 0) throw notAvailable('ipMasq needs iptables, which can not be run', stderr.trim())
  }
  await ipam?.status()
}
