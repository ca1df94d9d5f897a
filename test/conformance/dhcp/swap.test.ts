/** An operator puts one half in place of the other's: the plugin, the daemon, or both while a lease runs. */
import { describe, expect, test } from 'vitest'
import { ipv4Of } from '../../kernel/ipam/dhcp/node.ts'
import { capture } from '../../support/dhcp/capture.ts'
import { dnsmasq } from '../../support/dhcp/dnsmasq.ts'
import { both, type DhcpSide, dhcpSide, PeerDaemon, type Which } from './sides.ts'

/** Whose daemon, whose plugin for ADD, whose for DEL: all that are of both. */
const mixed = both.flatMap((daemon) =>
  both.flatMap((add) =>
    both.filter((del) => !(daemon === add && add === del)).map((del) => ({ daemon, add, del })),
  ),
)

const attach = async (side: DhcpSide, by: Which) => {
  const [server, frames, container] = await Promise.all([
    dnsmasq(side.lan.space),
    capture(side.lan.space, 'lan0'),
    side.host.container(),
    side.daemon.start(),
  ])
  const result = await side.must('ADD', { container, by })
  const lease = await server.lease()
  expect(await ipv4Of(container)).toEqual([`${lease.address}/24`])
  expect(result.ips).toMatchObject([{ address: `${lease.address}/24`, gateway: '10.77.0.1' }])
  return { server, frames, container, result, lease }
}

describe('plugins of both, one daemon', () => {
  test.each(mixed)('daemon: $daemon, ADD: $add, DEL: $del', async ({ daemon, add, del }) => {
    const side = await dhcpSide(daemon)
    const { frames, container, result, lease, server } = await attach(side, add)
    await side.must('CHECK', { container, prevResult: result, by: del })
    await side.must('DEL', { container, prevResult: result, by: del })
    const released = await frames.waitFor('the RELEASE', ({ dhcp4 }) => dhcp4?.type === 'release')
    expect(released.dhcp4).toMatchObject({ ciaddr: lease.address })
    expect(released.dhcp4!.options.get(61)?.toString('hex')).toBe(lease.clientId!.replaceAll(':', ''))
    expect(await container.ipJson('link', 'show', 'type', 'macvlan')).toEqual([])
    if (daemon === 'ours') await server.released(lease.address)
    await side.must('DEL', { container, prevResult: result, by: del })
  })
})

describe('another daemon while a lease runs', () => {
  test("Go's, then ours: the address stays, and DEL finds nothing to do", async () => {
    const side = await dhcpSide('go')
    const { container, result, lease } = await attach(side, 'go')
    // Debian's leaves its socket: ours takes its place.
    await side.daemon.stop()
    await new PeerDaemon(side.host, 'ours').start()
    expect(await ipv4Of(container)).toEqual([`${lease.address}/24`])
    await side.must('DEL', { container, prevResult: result, by: 'ours' })
  })

  test("ours, then Go's for a while, then ours again: the lease is known once more, and given back", async () => {
    const side = await dhcpSide('ours')
    const { container, result, lease, server } = await attach(side, 'ours')
    await side.daemon.stop()
    const other = new PeerDaemon(side.host, 'go')
    await other.start()
    await other.stop()
    await side.daemon.start()
    await side.must('CHECK', { container, prevResult: result })
    await side.must('DEL', { container, prevResult: result })
    await server.released(lease.address)
  })
})
