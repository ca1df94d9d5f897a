/** `loopback`: brings up `lo` in the container. */
import * as z from 'zod/mini'
import { CniError } from '../cni/error.ts'
import { definePlugin } from '../cni/plugin.ts'
import { commonConf } from '../cni/schema.ts'
import { allVersions } from '../cni/types.ts'
import { address, type Connection, contains, link, parseCidr, parseIp } from '../netlink/index.ts'
import { checkFailed, findLink } from './shared/check.ts'
import { interfaceEntry } from './shared/result.ts'

/** Every network namespace has it, always with this index. */
const LO = 1
const loopbacks = { 4: parseCidr('127.0.0.0/8')!, 6: parseCidr('::1/128')! } as const

/** @throws CniError where `lo` has an address that is no loopback address */
const loopbackAddresses = async (connection: Connection): Promise<readonly string[]> => {
  const found = await connection.run(address.list({ index: LO }))
  for (const own of found)
    if (!contains(loopbacks[own.family], parseIp(own.ip)!))
      throw new CniError({
        code: 999,
        msg: `loopback interface found with non-loopback address ${JSON.stringify(own.ip)}`,
        details: 'remove the address from lo in the container',
      })
  // The first of each family.
  return ([4, 6] as const).flatMap((family) => found.find((own) => own.family === family)?.address ?? [])
}

/** The loopback plugin. CNI_IFNAME is of no account: the interface is `lo`. */
export const loopback = definePlugin({
  type: 'loopback',
  kind: 'interface',
  versions: allVersions,
  conf: z.object(commonConf),
  async add(attachment) {
    const { container, prevResult, netnsPath, undo } = attachment
    // First: IPv6 addresses would not outlive lo going up and down again.
    await loopbackAddresses(container)
    const before = await container.run(link.get(LO))
    if (!before.up) {
      await container.run(link.set(LO, { up: true }))
      undo.push('set lo down', () => container.run(link.set(LO, { up: false })))
    }
    const addresses = await loopbackAddresses(container)
    if (prevResult) return prevResult
    return {
      interfaces: [interfaceEntry(attachment, before, netnsPath)],
      ips: addresses.map((own) => ({ address: own, interface: 0 })),
    }
  },
  async check({ container }) {
    const lo = await findLink(container, 'lo')
    if (!lo?.up) throw checkFailed('loopback interface is down')
    await loopbackAddresses(container)
  },
  async del({ container, netns }) {
    // `lo` goes away with its namespace.
    if (netns) await container.run(link.set(LO, { up: false }))
  },
})
