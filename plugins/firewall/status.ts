/** Whether an ADD could work now. */
import { CniError, codes } from '../../cni/error.ts'
import type { Context } from '../../cni/plugin.ts'
import { xtablesUnusable } from '../../netlink/nftables/xtables-usable.ts'
import { withBackend } from './backend.ts'
import { type FirewallConf, zoneOf } from './conf.ts'
import { IptablesFilter } from './filter-iptables.ts'
import type { Firewalld } from './firewalld.ts'

const notAvailable = (msg: string, details?: string): CniError =>
  new CniError({ code: codes.notAvailable, msg, details })

/** An address of no container, TEST-NET-1 of RFC 5737: only to ask for the zone. */
const NOBODY = '192.0.2.1/32'

const checkZone = async (firewalld: Firewalld, zone: string): Promise<void> => {
  try {
    await firewalld.querySource(zone, NOBODY)
  } catch (error) {
    const { msg, details } = CniError.from(error)
    throw notAvailable(msg, details)
  }
}

const checkProgram = async ({ exec }: Context<unknown>): Promise<void> => {
  // Looking at the table would make it, where it is one of the old xtables.
  const { status, stderr } = await exec('iptables', ['--version']).catch((error: Error) => ({
    status: 127,
    stderr: error.message,
  }))
  if (status !== 0) throw notAvailable('firewall needs iptables, which can not be run', stderr.trim())
}

const checkNftables = async ({ hostNetns }: Context<unknown>): Promise<void> => {
  const reason = await xtablesUnusable(hostNetns)
  if (reason)
    throw notAvailable(
      'backend is "nftables", but this kernel has no nf_tables with matches of xtables (CONFIG_NFT_COMPAT)',
      reason.message,
    )
}

/** @throws CniError code 50 */
export const checkStatus = async (context: Context<FirewallConf>): Promise<void> => {
  if (context.conf.backend === 'nftables') return checkNftables(context)
  await withBackend(context, [4], async ({ tables, firewalld }) => {
    if (firewalld) await checkZone(firewalld, zoneOf(context.conf))
    if (tables instanceof IptablesFilter || (await xtablesUnusable(context.hostNetns)))
      await checkProgram(context)
  })
}
