/**
 * Connections from 127.0.0.1 to a mapped port: they leave the host by the interface that leads to the container, and
 * the kernel lets no loopback address pass there unless it is told to. IPv6 has no such setting: `::1` never leaves.
 */
import type { Attachment } from '../../cni/plugin.ts'
import { isErrno, isLinkName, type Link, link, route } from '../../netlink/index.ts'
import { giveBack, preferSysctls } from '../shared/sysctl.ts'

/**
 * The interface by which the host reaches an address; null where there is none. It is asked for together with the one
 * that is to be expected: the first of the host's in the result.
 */
const towards = async ({ host, prevResult }: Attachment<unknown>, ip: string): Promise<Link | null> => {
  const expected = prevResult?.interfaces?.find(({ name, sandbox }) => !sandbox && isLinkName(name))?.name
  try {
    const [way, there] = await host.batch([
      route.get(ip),
      ...(expected === undefined ? [] : [link.get(expected)]),
    ] as const)
    if (!way.ok) throw way.error
    const { index, nexthops } = way.value
    const found = index ?? nexthops[0]?.index
    if (found === undefined) return null
    return there?.ok && there.value.index === found ? there.value : await host.run(link.get(found))
  } catch (error) {
    if (isErrno(error, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL', 'ENODEV')) return null
    throw error
  }
}

const settingOf = ({ name }: Link): string => `net/ipv4/conf/${name}/route_localnet`

/** Whether containers besides ours may rely on a setting of the interface. */
const isShared = async ({ host }: Attachment<unknown>, { kind, index }: Link): Promise<boolean> => {
  if (kind === 'veth') return false
  if (kind !== 'bridge') return true
  const ports = (await host.run(link.list())).filter(({ master }) => master === index)
  return ports.length > 1
}

const ipv4Of = (addresses: readonly string[]): string | undefined =>
  addresses.find((address) => !address.includes(':'))?.split('/')[0]

/**
 * Lets packets from 127.0.0.0/8 leave towards the container, and answers to it come back. It stays after DEL, because
 * containers on the same bridge need it too. Equivalent: `sysctl -w net.ipv4.conf.cni0.route_localnet=1`.
 * @param addresses `address/prefix` of the container; without an IPv4 address there is nothing to do
 */
export const allowLocalnet = async (
  attachment: Attachment<unknown>,
  addresses: readonly string[],
): Promise<void> => {
  const { hostNetns, log, undo } = attachment
  const ip = ipv4Of(addresses)
  if (ip === undefined) return
  const found = await towards(attachment, ip)
  if (!found) {
    log.warn(`the host has no route to ${ip}: its mapped ports do not answer on 127.0.0.1`)
    return
  }
  const name = settingOf(found)
  const [before] = preferSysctls(hostNetns, log, [{ name, value: '1' }])
  if (before === undefined || before === '1') return
  undo.push(`set ${name} back to ${before}`, async () => {
    if (!(await isShared(attachment, found))) giveBack(hostNetns, name, before)()
  })
}

/** What is missing of it, in words. Changes nothing. */
export const missingLocalnet = async (
  attachment: Attachment<unknown>,
  addresses: readonly string[],
): Promise<string[]> => {
  const ip = ipv4Of(addresses)
  const found = ip === undefined ? null : await towards(attachment, ip)
  if (!found) return []
  const name = settingOf(found)
  return attachment.hostNetns.readSysctl(name) === '1' ? [] : [`sysctl ${name}=1`]
}
