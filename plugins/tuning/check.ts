/** CHECK: everything is as the configuration says. */
import type { Attachment } from '../../cni/plugin.ts'
import { type Link, sameMac } from '../../netlink/index.ts'
import { checkFacts, checkFailed, findLink, requirePrevResult } from '../shared/check.ts'
import { containerNetns } from '../shared/netns.ts'
import { type Sysctl, type TuningConf, wantedOf } from './conf.ts'
import { IPV6_MIN_MTU, type LinkSettings } from './link-settings.ts'
import { ipv6InterfaceOf } from './sysctl-names.ts'
import { readSysctl, sameValue } from './sysctls.ts'

/** @throws CniError naming the first that differs */
const checkLinkSettings = (found: Link, { mac, promisc, mtu, allmulti, txQLen }: LinkSettings): void => {
  if (mac !== undefined && !sameMac(mac, found.address))
    throw checkFailed(`interface ${found.name} has MAC ${found.address}, the configuration says ${mac}`)
  checkFacts(found, [
    ['promisc', found.flags.promisc, promisc],
    ['MTU', found.mtu, mtu],
    ['allmulti', found.flags.allMulti, allmulti],
    ['txQLen', found.txQueueLength, txQLen],
  ])
}

/** Whether a setting has gone with IPv6 from the interface, as the configuration has it with its MTU. */
const isGone = ({ path }: Sysctl, { mtu = IPV6_MIN_MTU }: LinkSettings, { name }: Link): boolean =>
  mtu < IPV6_MIN_MTU && ipv6InterfaceOf(path) === name

/** @throws CniError */
export const checkTuned = async (attachment: Attachment<TuningConf>): Promise<void> => {
  const { container, ifName } = attachment
  const wanted = wantedOf(attachment)
  requirePrevResult(attachment)
  const netns = containerNetns(attachment)
  const found = await findLink(container, ifName)
  if (!found) throw checkFailed(`interface ${ifName} does not exist`)
  checkLinkSettings(found, wanted.link)
  for (const sysctl of wanted.sysctls) {
    if (isGone(sysctl, wanted.link, found)) continue
    const value = readSysctl(netns, sysctl)
    if (value !== null && !sameValue(value, sysctl.value))
      throw checkFailed(
        `sysctl ${sysctl.key} is ${JSON.stringify(value)}, the configuration says ${JSON.stringify(sysctl.value)}`,
        `/proc/sys/${sysctl.path} in the container`,
      )
  }
}
