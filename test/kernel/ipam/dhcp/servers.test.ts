import { describe, expect, test } from 'vitest'
import { dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { kea4 } from '../../../support/dhcp/kea4.ts'
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

describe('Kea', () => {
  test('gives leases of seconds, keeps them over a restart, and takes back what is released', async () => {
    const [lan, host] = await Promise.all([segment(), privateHost()])
    const [server, plug] = await Promise.all([
      kea4(lan.space, { leaseTime: 5, renew: 2, rebind: 4, routers: ['10.77.0.1'], mtu: 1400 }),
      lan.plug(host, 'eth0'),
    ])
    const { status, stderr } = await udhcpc(host, 'eth0', '-C')
    expect(stderr).toContain('lease time 5')
    expect(status).toBe(0)
    const lease = await server.lease()
    expect(lease).toMatchObject({ mac: plug.mac, validLifetime: 5, state: 'default', clientId: null })
    await server.kill()
    expect(server.pid).toBeNull()
    await server.start()
    expect(server.leases()).toEqual([lease])
    await server.restart({ pools: [['10.77.0.200', '10.77.0.210']] })
  })
})
