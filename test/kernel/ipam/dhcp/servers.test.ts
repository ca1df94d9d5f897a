/** What the tests of DHCP stand on: real servers, a LAN between them and the client, and an eye on what passes. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Capture, capture } from '../../../support/dhcp/capture.ts'
import { type DnsmasqOptions, dnsmasq } from '../../../support/dhcp/dnsmasq.ts'
import { temporaryFolder } from '../../../support/dhcp/ending.ts'
import type { Type4 } from '../../../support/dhcp/frame.ts'
import { type Kea4Options, kea4 } from '../../../support/dhcp/kea4.ts'
import { type Kea6Options, kea6 } from '../../../support/dhcp/kea6.ts'
import { linkLocal, type Segment, segment, serverMac } from '../../../support/dhcp/segment.ts'
import { dropping, duplicating } from '../../../support/dhcp/traffic.ts'
import { complaints, tshark } from '../../../support/dhcp/tshark.ts'
import type { Finished } from '../../../support/program.ts'
import { privateHost, type Space, space } from '../../../support/space.ts'
import { eventually } from '../../../support/wait.ts'

/** busybox's client: asks, asks again a second after each silence. Its script only sets the address. */
const options = (more: readonly string[]): string[] => {
  const script = join(temporaryFolder('udhcpc'), 'script')
  const lines = ['#!/bin/sh', '[ "$1" != bound ] || exec ip addr replace "$ip/$mask" dev "$interface"']
  writeFileSync(script, lines.join('\n'), { mode: 0o755 })
  return ['udhcpc', '-f', '-n', '-t4', '-T1', '-i', 'eth0', '-s', script, ...more]
}

/** One that ends when it has an address, and keeps it. */
const udhcpc = (host: Space, ...more: string[]): Promise<Finished> =>
  host.run('busybox', options(['-q', ...more]))

/** One that releases its address as soon as it has it. @returns the address */
const releasing = async (host: Space, ...more: string[]): Promise<string> => {
  await host.ip('addr', 'flush', 'dev', 'eth0')
  let pid = 0
  const started = (it: number) => {
    pid = it
  }
  const running = host.must('busybox', options(['-R', ...more]), { started })
  const address = await eventually('it has an address', async () => {
    const [link] = await host.ipJson<{ addr_info: { local: string }[] }>('-4', 'addr', 'show', 'eth0')
    return link?.addr_info[0]?.local
  })
  process.kill(pid, 'SIGTERM')
  await running
  return address
}

const lanWith = async <S>(serve: (lan: Segment) => Promise<S>) => {
  const [lan, host] = await Promise.all([segment(), privateHost()])
  const [server, plug] = await Promise.all([serve(lan), lan.plug(host, 'eth0')])
  return { lan, host, server, plug }
}
const withDnsmasq = (options?: DnsmasqOptions) => lanWith((lan) => dnsmasq(lan.space, options))
const withKea4 = (options?: Kea4Options) => lanWith((lan) => kea4(lan.space, options))
const withKea6 = (options?: Kea6Options) => lanWith((lan) => kea6(lan.space, options))

/** How many messages of a type left its sender, and how many got to its receiver. */
const passage = (type: Type4, client: Capture, server: Capture) => {
  const fromClient = type === 'discover' || type === 'request'
  const [sender, receiver] = fromClient ? [client, server] : [server, client]
  return { sent: sender.dhcp4(type).length, received: receiver.dhcp4(type).length }
}

const ports = async (space: Space): Promise<string> => space.must('ss', ['-Hlun'])

describe('a LAN', () => {
  test('is plugged into, loses its carrier, is unplugged', async () => {
    const [lan, host] = await Promise.all([segment(), space()])
    const mac = '02:00:00:00:00:07'
    const plug = await lan.plug(host, 'net1', { mac, mtu: 1400 })
    const link = async () => (await host.ipJson<Record<string, unknown>>('link', 'show', 'net1'))[0]
    expect(plug.mac).toBe(mac)
    expect(await link()).toMatchObject({ address: mac, mtu: 1400, operstate: 'UP' })
    await host.ip('addr', 'add', '10.77.0.7/24', 'dev', 'net1')
    expect(await host.ping('10.77.0.1')).toBe(true)
    expect(await host.ping('fd77::1')).toBe(false)
    await host.ip('addr', 'add', 'fd77::7/64', 'dev', 'net1', 'nodad')
    expect(await host.ping('fd77::1')).toBe(true)
    await plug.carrier(false)
    expect((await link())!.flags).not.toContain('LOWER_UP')
    await plug.carrier(true)
    expect((await link())!.flags).toContain('LOWER_UP')
    await plug.unplug()
    expect(await host.ipJson('link')).toHaveLength(1)
  })
})

describe('dnsmasq', () => {
  test('gives an address, tells whose it is, and takes it back', async () => {
    const { host, server, plug } = await withDnsmasq()
    const address = await releasing(host, '-x', 'hostname:blue', '-C')
    await server.log.waitFor(`DHCPACK(lan0) ${address} ${plug.mac} blue`)
    await server.released(address)
    const { status, stderr } = await udhcpc(host, '-C')
    expect(stderr).toContain('lease time 120')
    expect(status).toBe(0)
    const lease = await server.lease(({ mac }) => mac === plug.mac)
    expect(lease).toEqual({ expires: lease.expires, mac: plug.mac, address, hostname: null, clientId: null })
    expect(lease.expires - Date.now() / 1000).toBeGreaterThan(100)
  })

  test('sends every option it is told', async () => {
    const { host } = await withDnsmasq({
      routers: ['10.77.0.254'],
      dns: ['10.77.0.53', '10.77.0.54'],
      domain: 'lan.example',
      search: ['a.example', 'b.example'],
      mtu: 1400,
      staticRoutes: [{ to: '192.0.2.9', via: '10.77.0.8' }],
      classlessRoutes: [{ to: '172.16.0.0/12', via: '10.77.0.9' }],
      extra: ['--dhcp-option-force=43,01:02'],
    })
    const frames = await capture(host, 'eth0')
    const asked = [3, 6, 15, 26, 33, 119, 121].flatMap((code) => ['-O', `${code}`])
    await udhcpc(host, ...asked)
    const [read] = await tshark(frames.dhcp4('ack'), [
      ...(['dhcp.option.router', 'dhcp.option.domain_name_server', 'dhcp.option.domain_name'] as const),
      ...(['dhcp.option.dhcp_dns_domain_search_list_fqdn', 'dhcp.option.interface_mtu'] as const),
      'dhcp.option.type',
    ])
    expect(read).toMatchObject({
      'dhcp.option.router': ['10.77.0.254'],
      'dhcp.option.domain_name_server': ['10.77.0.53', '10.77.0.54'],
      'dhcp.option.domain_name': ['lan.example'],
      'dhcp.option.interface_mtu': ['1400'],
    })
    const [ack] = frames.dhcp4('ack')
    const option = (code: number) => ack!.dhcp4!.options.get(code)?.toString('hex')
    expect(option(33)).toBe('c00002090a4d0008')
    expect(option(121)).toBe('0cac100a4d0009')
    expect(option(43)).toBe('0102')
    expect(option(119)).toBe('0161076578616d706c65000162c002')
  })

  test('comes back with what it had, or renumbered', async () => {
    const { lan, host, server, plug } = await withDnsmasq({
      reservations: [{ clientId: 'ff:01:02', address: '10.77.0.7' }],
    })
    await udhcpc(host, '-C', '-x', '61:ff0102')
    const lease = await server.lease()
    expect(lease).toMatchObject({ address: '10.77.0.7', clientId: 'ff:01:02' })
    await server.kill()
    expect(server.pid).toBeNull()
    expect((await udhcpc(host, '-t1')).stderr).toContain('no lease')
    await server.start()
    expect(server.leases()).toEqual([lease])
    await lan.renumber({ address4: '10.78.0.1/24' })
    await server.restart({ range: ['10.78.0.100', '10.78.0.199'], authoritative: true, reservations: [] })
    expect((await udhcpc(host)).stderr).toMatch(/lease of 10\.78\.0\.1\d\d obtained from 10\.78\.0\.1/)
    await server.lease(({ mac, address }) => mac === plug.mac && address.startsWith('10.78.'))
  })

  test('says why it could not start', async () => {
    const lan = await segment()
    await expect(dnsmasq(lan.space, { extra: ['--no-such-option'] })).rejects.toThrow('has ended: exit 1')
  })

  test('advertises a router with the M flag, and leases IPv6 addresses', async () => {
    const lan = await segment()
    const server = await dnsmasq(lan.space, { range: null, range6: ['fd77::100', 'fd77::1ff'], ra: true })
    const frames = await capture(lan.space, 'lan0')
    const host = await privateHost()
    // Its kernel solicits as soon as the interface is up.
    const plug = await lan.plug(host, 'eth0')
    const { packet, source, advertisement } = await frames.waitFor('an advertisement', (f) => f.advertisement)
    expect(advertisement).toMatchObject({ managed: true, other: true })
    expect(advertisement!.options).toContain(3)
    expect(source).toBe(serverMac)
    expect(packet!.from).toBe('fe80:0:0:0:77:ff:fe00:1')
    expect(linkLocal).toBe('fe80::77:ff:fe00:1')
    await solicit(host)
    await frames.waitFor('a reply', ({ dhcp6 }) => dhcp6?.type === 'reply')
    const lease = await server.lease6()
    expect(lease).toMatchObject({ duid: '00:04:aa', iaid: 7, hostname: null })
    expect(lease.address).toMatch(/^fd77::1[0-9a-f]{2}$/)
    await server.log.waitFor(`DHCPREPLY(lan0) ${lease.address}`)
    expect(server.leases()).toEqual([])

    const prefix6 = { prefix: 'fd77::', mode: 'ra-only' } as const
    await server.restart({ range6: null, prefix6, raLifetime: 0, dns6: ['fd77::53'] })
    await plug.carrier(false)
    const from = frames.length
    await plug.carrier(true)
    const later = await frames.waitFor('a solicited advertisement', (f) => f.advertisement, { from })
    expect(later.advertisement).toMatchObject({ managed: false, lifetime: 0 })
    expect(later.advertisement!.options).toContain(25)
  })
})

describe('Kea', () => {
  test('gives leases of seconds with its own T1 and T2, and keeps them over its death', async () => {
    const { host, server, plug } = await withKea4({ renew: 2, rebind: 4 })
    const frames = await capture(host, 'eth0')
    expect((await udhcpc(host)).stderr).toContain('lease time 5')
    const lease = await server.lease()
    expect(lease).toMatchObject({
      mac: plug.mac,
      clientId: `01:${plug.mac}`,
      validLifetime: 5,
      hostname: null,
    })
    const [ack] = frames.dhcp4('ack')
    const seconds = [51, 58, 59].map((code) => ack!.dhcp4!.options.get(code)?.readUInt32BE())
    expect(seconds).toEqual([5, 2, 4])
    await server.kill()
    await server.start()
    expect(server.leases()).toEqual([lease])
    expect(await releasing(host)).toBe(lease.address)
    await server.released(lease.address)
    expect(server.history(lease.address).map(({ validLifetime }) => validLifetime)).toEqual([5, 5, 0])
    expect(server.leases()).toEqual([])
  })

  test('sends every option it is told, and refuses what it knows nothing of', async () => {
    const { host, server } = await withKea4({
      pools: [
        ['10.77.0.10', '10.77.0.10'],
        ['10.77.0.20', '10.77.0.29'],
      ],
      routers: ['10.77.0.254'],
      dns: ['10.77.0.53'],
      domain: 'lan.example',
      search: ['a.example', 'b.example'],
      mtu: 1400,
      staticRoutes: [{ to: '192.0.2.9', via: '10.77.0.8' }],
      classlessRoutes: [{ to: '172.16.0.0/12', via: '10.77.0.9' }],
      alwaysSend: true,
      authoritative: true,
    })
    const frames = await capture(host, 'eth0')
    await udhcpc(host)
    const [ack] = frames.dhcp4('ack')
    expect(ack!.dhcp4!.yiaddr).toBe('10.77.0.10')
    const option = (code: number) => ack!.dhcp4!.options.get(code)?.toString('hex')
    expect([3, 6, 26, 33, 121].map(option)).toEqual([
      ...['0a4d00fe', '0a4d0035', '0578', 'c00002090a4d0008', '0cac100a4d0009'],
    ])
    expect(ack!.dhcp4!.options.get(15)?.toString()).toBe('lan.example')
    expect(option(119)).toBe('0161076578616d706c6500' + '0162076578616d706c6500')
    expect(await complaints(frames.dhcp4())).toEqual([])
    await server.restart({ subnet: '10.78.0.0/24', pools: [['10.78.0.10', '10.78.0.19']] })
    expect((await server.command('dhcp-disable')).result).toBe(0)
    expect((await udhcpc(host, '-t1')).stderr).toContain('no lease')
  })

  test('gives IPv6 addresses in one exchange', async () => {
    const { lan, host, server } = await withKea6({ rapidCommit: true, dns: ['fd77::53'], alwaysSend: true })
    const frames = await capture(lan.space, 'lan0')
    await solicit(host)
    const { dhcp6 } = await frames.waitFor('a reply', ({ dhcp6 }) => dhcp6?.type === 'reply')
    expect(dhcp6!.options.get(2)).toEqual([Buffer.from('00030001027700000001', 'hex')])
    expect(dhcp6!.options.get(23)).toEqual([Buffer.from('fd770000000000000000000000000053', 'hex')])
    expect(await server.lease()).toMatchObject({
      ...{ address: 'fd77::100', duid: '00:04:aa', iaid: 7, validLifetime: 5, state: 'default' },
    })
    await server.restart({ rapidCommit: false })
    await solicit(host)
    await frames.waitFor('an offer', ({ dhcp6 }) => dhcp6?.type === 'advertise')
    expect(existsSync('/var/lib/kea/kea-dhcp6-serverid')).toBe(false)
  })

  test('says why it could not start', async () => {
    const lan = await segment()
    await expect(kea4(lan.space, { interface: 'lan9' })).rejects.toThrow(/lan9/)
    await expect(kea4(lan.space, { extra: { nonsense: 1 } })).rejects.toThrow('has ended: exit')
  })
})

/** A SOLICIT for one address, DUID 00:04:aa, IAID 7. Whoever answers, answers to port 546. */
const solicit = async (host: Space, rapid = true): Promise<void> => {
  const message = `01aabbcc000100030004aa0003000c000000070000000000000000000800020000${rapid ? '000e0000' : ''}`
  const script = `
    const socket = require('node:dgram').createSocket('udp6')
    socket.bind(546, () => socket.send(Buffer.from('${message}', 'hex'), 547, 'ff02::1:2%eth0', () => socket.close()))`
  await host.must(process.execPath, ['-e', script])
}

describe('two servers', () => {
  test('on one LAN both offer', async () => {
    const { lan, host } = await withDnsmasq({ routers: [] })
    const second = await space()
    await lan.plug(second, 'lan0')
    await second.ip('addr', 'add', '10.77.0.2/24', 'dev', 'lan0')
    await kea4(second)
    const frames = await capture(host, 'eth0')
    await udhcpc(host)
    const servers = new Set<string>()
    await frames.waitFor('both offers', ({ dhcp4, udp }) => {
      if (dhcp4?.type === 'offer') servers.add(udp!.from)
      return servers.size === 2
    })
    expect([...servers].sort()).toEqual(['10.77.0.1', '10.77.0.2'])
  })
})

describe('lost messages', () => {
  test.each(['discover', 'offer', 'request', 'ack'] as const)('the first %s', async (type) => {
    const { lan, host } = await withKea4()
    const rule = await dropping(lan, { types: [type], first: 1 })
    const [client, server] = [await capture(host, 'eth0'), await capture(lan.space, 'lan0')]
    expect((await udhcpc(host)).status).toBe(0)
    await client.waitFor('an ACK', ({ dhcp4 }) => dhcp4?.type === 'ack')
    await eventually('one is missing', () => {
      const { sent, received } = passage(type, client, server)
      return sent > 1 && received === sent - 1
    })
    expect(await rule.hits()).toBe(1)
  })

  test('all in one direction, of one client, after some, until the rule goes', async () => {
    const { lan, host, plug } = await withDnsmasq()
    const frames = await capture(host, 'eth0')
    const rule = await dropping(lan, { direction: 'to-client', chaddr: plug.mac, after: 1 })
    expect((await udhcpc(host)).stderr).toContain('no lease')
    expect(frames.dhcp4().filter(({ outgoing }) => !outgoing)).toHaveLength(1)
    await rule.hit(3)
    await rule.remove()
    await dropping(lan, { chaddr: '02:00:00:00:00:99' })
    expect((await udhcpc(host)).status).toBe(0)
  })

  test('of DHCPv6', async () => {
    const { lan, host } = await withKea6({ rapidCommit: true })
    const frames = await capture(host, 'eth0')
    const rule = await dropping(lan, { types6: ['reply'], first: 1 })
    await solicit(host)
    await rule.hit(1)
    await solicit(host)
    await frames.waitFor('a reply', ({ dhcp6 }) => dhcp6?.type === 'reply')
    expect(frames.dhcp6('reply')).toHaveLength(1)
  })

  test('by chance', async () => {
    const { lan, host } = await withDnsmasq()
    const never = await dropping(lan, { chance: 0 })
    expect((await udhcpc(host)).status).toBe(0)
    expect(await never.hits()).toBe(0)
  })
})

describe('messages that come twice', () => {
  test.each(['discover', 'offer', 'request', 'ack'] as const)('%s', async (type) => {
    const { lan, host } = await withKea4()
    const [client, server] = [await capture(host, 'eth0'), await capture(lan.space, 'lan0')]
    const rule = await duplicating(lan, { types: [type], first: 1 })
    expect((await udhcpc(host)).status).toBe(0)
    await eventually('there is one more', () => {
      const { sent, received } = passage(type, client, server)
      return sent > 0 && received === sent + 1
    })
    expect(await rule.hits()).toBe(1)
    // The copy is nobody else's: no frame comes back to where it came from.
    expect(client.frames.filter(({ outgoing, source }) => !outgoing && source !== serverMac)).toEqual([])
  })

  test('of DHCPv6, both ways', async () => {
    const { lan, host } = await withKea6({ rapidCommit: true })
    const [client, server] = [await capture(host, 'eth0'), await capture(lan.space, 'lan0')]
    const rule = await duplicating(lan)
    await solicit(host)
    await eventually('the copies are there', () => client.dhcp6('reply').length >= 4)
    expect(server.dhcp6('solicit')).toHaveLength(2)
    expect(client.dhcp6('reply')).toHaveLength(4)
    await rule.remove()
    await solicit(host)
    await eventually('one more', () => client.dhcp6('reply').length >= 5)
    expect(server.dhcp6('solicit')).toHaveLength(3)
  })
})

describe('capture', () => {
  test('tells directions, times and what is cut short', async () => {
    const { lan, host } = await withDnsmasq()
    const [client, server] = [await capture(host, 'eth0'), await capture(lan.space, 'lan0')]
    const before = Date.now()
    await udhcpc(host)
    const ack = await client.waitFor('an ACK', ({ dhcp4 }) => dhcp4?.type === 'ack')
    const out = (frames: Capture) =>
      new Set(frames.dhcp4().flatMap(({ outgoing, dhcp4 }) => (outgoing ? [dhcp4!.type] : [])))
    expect(out(client)).toEqual(new Set(['discover', 'request']))
    expect(out(server)).toEqual(new Set(['offer', 'ack']))
    expect(ack.at).toBeGreaterThan(before - 1)
    expect(ack.at).toBeLessThan(Date.now() + 1)
    await expect(
      client.waitFor('a NAK', ({ dhcp4 }) => dhcp4?.type === 'nak', { deadline: 1 }),
    ).rejects.toThrow(/a NAK: not within 1 ms(.|\n)* ack$/m)
    // The server's own reading of the same bytes: tshark has nothing against what arrived.
    expect(await complaints(server.dhcp4('discover', 'request'))).toEqual([])
    const broken = Buffer.from(ack.data)
    broken[60]! ^= 1
    expect(await complaints([Object.assign(Object.create(ack), { data: broken })])).not.toEqual([])
  })
})

test('nothing is left of them', async () => {
  const own = () => readdirSync(tmpdir()).filter((name) => /^linkwright-(kea|dnsmasq)-/.test(name))
  const before = own()
  const lan = await segment()
  const server = await kea4(lan.space)
  const { pid } = server
  expect(await ports(lan.space)).toContain(':67')
  expect(own().length).toBeGreaterThan(before.length)
  await server.stop()
  expect(existsSync(`/proc/${pid}`)).toBe(false)
  expect(await ports(lan.space)).not.toContain(':67')
})
