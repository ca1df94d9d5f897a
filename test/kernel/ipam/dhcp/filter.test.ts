import { expect, test } from 'vitest'
import { announcement, parseArp, probe } from '../../../../ipam/dhcp/arp.ts'
import { arpFilter, icmp6Filter, udpFilter } from '../../../../ipam/dhcp/filter.ts'
import { encodeIcmp6, parseIcmp6 } from '../../../../ipam/dhcp/icmp6.ts'
import { encodeUdp, parseUdp } from '../../../../ipam/dhcp/udp.ts'
import type { Descriptor } from '../../../../native/binding.ts'
import { type Space, space } from '../../../support/space.ts'
import { AF_PACKET, closing, EPOLLIN, native, SOCK_DGRAM, socket } from '../../../unit/native/support.ts'

const ETH_P_IP = 0x0800
const ETH_P_ARP = 0x0806
const ETH_P_IPV6 = 0x86dd

/** `struct sockaddr_ll`; to everybody where it is for sending. */
const linkLayer = (protocol: number, index: number): Uint8Array => {
  const bytes = Buffer.alloc(20)
  bytes.set(Uint8Array.of(...new Uint8Array(Uint16Array.of(AF_PACKET).buffer)))
  bytes.writeUInt16BE(protocol, 2)
  bytes.set(new Uint8Array(Int32Array.of(index).buffer), 4)
  bytes.writeUInt8(6, 11)
  bytes.fill(0xff, 12, 18)
  return bytes
}

const end = async (inside: Space) => {
  const [link] = await inside.ipJson<{ ifindex: number }>('link', 'show', 'eth0')
  return { netns: closing(native.open(inside.path, 0, 0)), index: link!.ifindex }
}

/** Two ends of a veth pair, both up; `open` gives a packet socket on each. */
const joined = async () => {
  const [one, two] = [await space(), await space()]
  await one.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${two.pid}`)
  for (const each of [one, two]) await each.ip('link', 'set', 'eth0', 'up')
  const [from, to] = [await end(one), await end(two)]
  return (protocol: number, filter: Uint8Array) => {
    const receiver = socket(AF_PACKET, SOCK_DGRAM, 0, to.netns)
    native.attachFilter(receiver, filter)
    native.bind(receiver, linkLayer(protocol, to.index))
    const sender = socket(AF_PACKET, SOCK_DGRAM, 0, from.netns)
    const send = (bytes: Uint8Array) => native.send(sender, bytes, linkLayer(protocol, from.index))
    return { receiver, send }
  }
}

/** All that comes, up to what `isLast` holds for. */
const receiveUntil = (receiver: Descriptor, isLast: (bytes: Uint8Array) => boolean) =>
  new Promise<Uint8Array[]>((resolve, reject) => {
    const all: Uint8Array[] = []
    const watch = native.watch(receiver, EPOLLIN, () => {
      try {
        const received = native.receive(receiver, 65_536)
        if (!received) return
        all.push(received.data)
        if (!isLast(received.data)) return
        resolve(all)
      } catch (error) {
        reject(error)
      }
      watch.close()
    })
  })

const datagram = (text: string, destinationPort = 68): Uint8Array =>
  encodeUdp({
    source: '0.0.0.0',
    destination: '255.255.255.255',
    sourcePort: 67,
    destinationPort,
    payload: Buffer.from(text),
  })

test('a socket with the filter for UDP wakes for its port alone', async () => {
  const open = await joined()
  const { receiver, send } = open(ETH_P_IP, udpFilter(68))
  const received = receiveUntil(receiver, (bytes) => Buffer.from(bytes).toString().endsWith('last'))
  const good = datagram('first')
  const withOptions = Uint8Array.of(0x46, ...good.subarray(1, 20), 1, 1, 1, 1, ...good.subarray(20))
  for (const packet of [
    datagram('other port', 69),
    good.with(9, 6),
    good.with(6, 0x20),
    good.with(7, 1),
    good.with(0, 0x55),
    good.subarray(0, 23),
    good,
    withOptions,
    datagram('last'),
  ])
    send(packet)
  const all = await received
  expect(all).toEqual([good, withOptions, datagram('last')])
  expect(parseUdp(all[0]!)).toMatchObject({ sourcePort: 67, destinationPort: 68 })
})

test('a packet of any length passes whole', async () => {
  const open = await joined()
  const { receiver, send } = open(ETH_P_IP, udpFilter(68))
  const received = receiveUntil(receiver, () => true)
  send(datagram('x'.repeat(1472)))
  expect(await received).toEqual([datagram('x'.repeat(1472))])
})

test('a socket with the filter for ARP wakes for requests and replies', async () => {
  const open = await joined()
  const { receiver, send } = open(ETH_P_ARP, arpFilter)
  const claim = { mac: '02:00:5e:00:53:01', address: '192.0.2.7' }
  const asked = probe(claim)
  const last = announcement(claim)
  const received = receiveUntil(receiver, (bytes) => parseArp(bytes)?.senderIp === claim.address)
  for (const packet of [asked.with(7, 3), asked.with(1, 32), asked.with(3, 6), asked, asked.with(7, 2), last])
    send(packet)
  expect(await received).toEqual([asked, asked.with(7, 2), last])
})

test('a socket with the filter for ICMPv6 wakes for its types alone, and for what no router has forwarded', async () => {
  const open = await joined()
  // Types of which the kernels at both ends say nothing themselves.
  const { receiver, send } = open(ETH_P_IPV6, icmp6Filter(200, 201))
  const message = (type: number, text: string) =>
    encodeIcmp6({
      source: 'fe80::1',
      destination: 'ff02::1',
      message: Uint8Array.of(type, 0, 0, 0, ...Buffer.from(text)),
    })
  const [first, last] = [message(200, 'first'), message(201, 'last')]
  const received = receiveUntil(receiver, (bytes) => Buffer.from(bytes).toString().endsWith('last'))
  for (const packet of [
    message(202, 'other type'),
    first.with(0, 0x40),
    first.with(6, 17),
    first.with(6, 0),
    first.with(7, 254),
    first.subarray(0, 40),
    first,
    last,
  ])
    send(packet)
  const all = await received
  expect(all).toEqual([first, last])
  expect(parseIcmp6(all[0]!)).toMatchObject({ source: 'fe80::1', destination: 'ff02::1' })
})
