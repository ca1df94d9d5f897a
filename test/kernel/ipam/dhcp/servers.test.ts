import { describe, expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { segment } from '../../../support/dhcp/segment.ts'
import type { Finished } from '../../../support/program.ts'
import { privateHost, type Space } from '../../../support/space.ts'

/** busybox's client asks once and ends; its script does nothing. */
const udhcpc = (host: Space, name: string, ...more: string[]): Promise<Finished> =>
  host.run('busybox', ['udhcpc', '-f', '-n', '-q', '-t3', '-T1', '-i', name, '-s', '/bin/true', ...more])

describe('dnsmasq', () => {
  test('gives an address, and its file tells whose it is', async () => {
    const [lan, host] = await Promise.all([segment(), privateHost()])
    const [server, plug] = await Promise.all([dnsmasq(lan.space), lan.plug(host, 'eth0')])
    const { status, stderr } = await udhcpc(host, 'eth0', '-x', 'hostname:blue', '-C')
    expect(stderr).toContain('lease of 10.77.0.')
    expect(status).toBe(0)
    const lease = await server.lease()
    expect(lease).toMatchObject({ mac: plug.mac, hostname: 'blue', clientId: null })
    expect(server.log.lines.join('\n')).toContain(`DHCPACK(lan0) ${lease.address} ${plug.mac}`)
  })
})
