/** Whether an ADD could work now. */
import { CniError, codes } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { xtablesUnusable } from '../../netlink/nftables/xtables-usable.ts'
import { withBackend } from './backend.ts'
import { type FirewallConf, zoneOf } from './conf.ts'
import { IptablesFilter } from './filter-iptables.ts'

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** An address of no container, TEST-NET-1 of RFC 5737: only to ask for the zone. */
const NOBODY = '192.0.2.1/32'

/** @throws CniError code 50 */
export const checkStatus = async (context: Context<FirewallConf>): Promise<void> => {
  await withBackend(context, [4], async ({ tables, firewalld }) => {
    if (firewalld) {
      await firewalld.querySource(zoneOf(context.conf), NOBODY).catch((error: unknown) => {
        const { msg, details } = CniError.from(error)
        throw notAvailable(msg, details)
      })
      return
    }
    if (tables instanceof IptablesFilter) {
      const { status, stderr } = await context
        .exec('iptables', ['--version'])
        .catch((error: Error) => ({ status: 127, stderr: error.message }))
      if (status !== 0) throw notAvailable('firewall needs iptables, which can not be run', stderr.trim())
      return
    }
    const reason = await xtablesUnusable(context.hostNetns)
    if (reason)
      throw notAvailable(
        'firewall needs nf_tables and its matches of xtables, which this kernel has not',
        reason.message,
      )
  })
}
