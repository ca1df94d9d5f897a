import { expect, onTestFinished, test } from 'vitest'
import { type ConntrackEntry, conntrack, NETLINK_NETFILTER } from '../../../netlink/index.ts'
import { flushUdp } from '../../../plugins/portmap/conntrack.ts'
import type { PortMapping } from '../../../plugins/portmap/forwarding.ts'
import { place } from './open.ts'

/** Tracks connections that leave; port 53 of 127.0.0.1 leads to another one. */
const rules = `
  table inet t {
    chain track { type filter hook output priority 0; ct state new accept; }
    chain nat { type nat hook output priority -100
      meta nfproto ipv4 ip daddr 127.0.0.1 udp dport 53 dnat ip to 127.0.0.1:5353
    }
  }
`

/** A namespace with tracked flows of UDP: to 53 and 54 of 127.0.0.1, ::1 and 192.0.2.1, to 53 of one elsewhere. */
const tracked = async () => {
  const { space, netns, conn } = await place({ ipv6: true })
  const connection = netns.connect({ protocol: NETLINK_NETFILTER })
  onTestFinished(() => connection.close())
  await space.ip('link', 'set', 'lo', 'up')
  await space.ip('addr', 'add', '192.0.2.1/24', 'dev', 'lo')
  await space.must('nft', ['-f', '-'], { input: rules })
  const script = `
    const dgram = require('node:dgram')
    const send = ([ip, port]) => new Promise((done, failed) => {
      const socket = dgram.createSocket(ip.includes(':') ? 'udp6' : 'udp4')
      socket.send('x', port, ip, (error) => { socket.close(); error ? failed(error) : done() })
    })
    Promise.all(${JSON.stringify([
      ['127.0.0.1', 53],
      ['127.0.0.1', 54],
      ['::1', 53],
      ['192.0.2.1', 53],
      ['192.0.2.7', 53],
    ])}.map(send)).catch((error) => { console.error(error); process.exit(1) })`
  await space.must(process.execPath, ['-e', script])
  return { space, host: conn, hostNftables: connection, connection }
}

const places = (entries: readonly ConntrackEntry[]): string[] =>
  entries.map(({ original }) => `${original.destination} ${original.destinationPort}`).sort()

test('lists what the kernel tracks, filtered', async () => {
  const { connection } = await tracked()
  expect(await connection.run(conntrack.count())).toBe(5)
  const v4 = await connection.run(conntrack.list({ family: 'ip', protocol: 'udp' }))
  expect(places(v4)).toEqual(['127.0.0.1 53', '127.0.0.1 54', '192.0.2.1 53', '192.0.2.7 53'])
  expect(places(await connection.run(conntrack.list({ family: 'ip6' })))).toEqual(['::1 53'])
  expect(places(await connection.run(conntrack.list({ protocol: 'udp' }))).length).toBe(5)
  expect(await connection.run(conntrack.list({ protocol: 'tcp' }))).toEqual([])
  const [translated] = await connection.run(
    conntrack.list({
      family: 'ip',
      protocol: 'udp',
      originalDestinationPort: 53,
      originalDestination: '127.0.0.1',
    }),
  )
  expect(translated).toMatchObject({
    family: 'ip',
    original: { source: '127.0.0.1', destination: '127.0.0.1', protocol: 17, destinationPort: 53 },
    reply: { source: '127.0.0.1', destination: '127.0.0.1', protocol: 17, sourcePort: 5353 },
    mark: 0,
    zone: 0,
  })
  expect(translated!.status & conntrack.conntrackStatus.dstNat).not.toBe(0)
  expect(translated!.reply.destinationPort).toBe(translated!.original.sourcePort)
  expect(translated!.timeout).toBeGreaterThan(0)
  expect(() => conntrack.list({ family: 'ip', originalDestinationPort: 53 })).toThrow(RangeError)
})

test('removes the entry that it was given, and no other', async () => {
  const { connection } = await tracked()
  const [entry] = await connection.run(
    conntrack.list({ family: 'ip', protocol: 'udp', originalDestinationPort: 54 }),
  )
  const removal = conntrack.remove(entry!)
  // Another entry that has taken its place has another id.
  await expect(
    connection.run(conntrack.remove({ ...entry!, id: (entry!.id! ^ 1) >>> 0 })),
  ).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await connection.run(removal)
  await expect(connection.run(removal)).rejects.toMatchObject({ code: 'ENOENT' })
  expect(places(await connection.run(conntrack.list({ family: 'ip' })))).toEqual([
    '127.0.0.1 53',
    '192.0.2.1 53',
    '192.0.2.7 53',
  ])
})

const udp = (more: Partial<PortMapping> = {}): PortMapping => ({
  hostPort: 53,
  containerPort: 5353,
  protocol: 'udp',
  ...more,
})

test.each([
  ['of all addresses', [udp()], [], ['127.0.0.1 54', '192.0.2.7 53']],
  [
    'of one address',
    [udp({ hostIp: '192.0.2.1' })],
    [],
    ['127.0.0.1 53', '127.0.0.1 54', '192.0.2.7 53', '::1 53'],
  ],
  [
    'of all addresses of IPv4',
    [udp({ hostIp: '0.0.0.0' })],
    ['10.22.0.5/16'],
    ['127.0.0.1 54', '192.0.2.7 53', '::1 53'],
  ],
  ['of two ports', [udp(), udp({ hostPort: 54 })], [], ['192.0.2.7 53']],
  [
    'of TCP',
    [udp({ protocol: 'tcp' })],
    [],
    ['127.0.0.1 53', '127.0.0.1 54', '192.0.2.1 53', '192.0.2.7 53', '::1 53'],
  ],
] as const)(
  'flows to mapped ports of the host end, those to others stay: %s',
  async (_, mappings, addresses, left) => {
    const { host, hostNftables, connection } = await tracked()
    await flushUdp({ host, hostNftables }, { mappings, addresses })
    expect(places(await connection.run(conntrack.list({ protocol: 'udp' })))).toEqual([...left].sort())
    await flushUdp({ host, hostNftables }, { mappings, addresses })
  },
)

test('among very many, flows of each family are asked for', async () => {
  const { host, hostNftables, connection, space } = await tracked()
  const script = `
    const socket = require('node:dgram').createSocket('udp4')
    const send = (port) => new Promise((done) => socket.send('x', port, '192.0.2.7', done))
    Promise.all(Array.from({ length: 1100 }, (_, i) => send(1000 + i))).then(() => socket.close())`
  await space.must(process.execPath, ['-e', script])
  expect(await connection.run(conntrack.count())).toBeGreaterThan(1000)
  await flushUdp({ host, hostNftables }, { mappings: [udp()], addresses: [] })
  const left = await connection.run(conntrack.list({ protocol: 'udp' }))
  expect(places(left.filter(({ original }) => (original.destinationPort ?? 0) < 1000))).toEqual([
    '127.0.0.1 54',
    '192.0.2.7 53',
  ])
})
