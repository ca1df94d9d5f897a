import { describe, expect, test } from 'vitest'
import type { Descriptor, Received } from '../../../native/binding.ts'
import { type Space, space } from '../../support/space.ts'
import {
  AF_INET,
  AF_NETLINK,
  AF_PACKET,
  closing,
  EPOLLIN,
  expecting,
  getLink,
  native,
  refusal,
  replies,
  SOCK_DGRAM,
  SOCK_RAW,
  socket,
} from '../../unit/native/support.ts'

const ETH_P_IP = 0x0800

const enter = ({ path }: Space): Descriptor => closing(native.open(path, 0, 0))

/** `struct sockaddr_in`. */
const inet = (address: string, port: number): Buffer => {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt16LE(AF_INET, 0)
  bytes.writeUInt16BE(port, 2)
  bytes.set(address.split('.').map(Number), 4)
  return bytes
}

/** `struct sockaddr_ll`. */
const linkLayer = (protocol: number, index: number, address: readonly number[] = []): Buffer => {
  const bytes = Buffer.alloc(20)
  bytes.writeUInt16LE(AF_PACKET, 0)
  bytes.writeUInt16BE(protocol, 2)
  bytes.writeInt32LE(index, 4)
  bytes.writeUInt8(address.length, 11)
  bytes.set(address, 12)
  return bytes
}

/** Classic BPF, `struct sock_filter` each: code, jt, jf, k. */
const bpf = (...instructions: [code: number, jt: number, jf: number, k: number][]): Buffer =>
  Buffer.concat(
    instructions.map(([code, jt, jf, k]) => {
      const bytes = Buffer.alloc(8)
      bytes.writeUInt16LE(code, 0)
      bytes.writeUInt8(jt, 2)
      bytes.writeUInt8(jf, 3)
      bytes.writeUInt32LE(k, 4)
      return bytes
    }),
  )

/** The next thing that comes. */
const next = (descriptor: Descriptor) =>
  new Promise<Received>((resolve, reject) => {
    const watch = native.watch(descriptor, EPOLLIN, () => {
      try {
        const received = native.receive(descriptor, 65_536)
        if (received) resolve(received)
        else return
      } catch (error) {
        reject(error)
      }
      watch.close()
    })
  })

const checksum = (header: Buffer): number => {
  let sum = 0
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at)
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}

/** An IPv4 datagram with UDP inside, without UDP checksum. */
const udpPacket = (from: string, to: string, port: number, payload: string): Buffer => {
  const data = Buffer.from(payload)
  const packet = Buffer.alloc(28 + data.length)
  packet.writeUInt8(0x45, 0)
  packet.writeUInt16BE(packet.length, 2)
  packet.writeUInt8(64, 8)
  packet.writeUInt8(17, 9)
  packet.set(from.split('.').map(Number), 12)
  packet.set(to.split('.').map(Number), 16)
  packet.writeUInt16BE(checksum(packet.subarray(0, 20)), 10)
  packet.writeUInt16BE(4711, 20)
  packet.writeUInt16BE(port, 22)
  packet.writeUInt16BE(8 + data.length, 24)
  packet.set(data, 28)
  return packet
}

/** Two namespaces joined by a veth pair, both ends up: interface `eth0`, 192.0.2.1 and 192.0.2.2. */
const joined = async () => {
  const [one, two] = [await space(), await space()]
  await one.ip('link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${two.pid}`)
  for (const [index, each] of [one, two].entries()) {
    await each.ip('addr', 'add', `192.0.2.${index + 1}/24`, 'dev', 'eth0')
    await each.ip('link', 'set', 'eth0', 'up')
  }
  const ends = await Promise.all(
    [one, two].map(async (each) => {
      const [link] = await each.ipJson<{ ifindex: number; address: string }>('link', 'show', 'eth0')
      const address = link!.address.split(':').map((byte) => Number.parseInt(byte, 16))
      return { space: each, netns: enter(each), index: link!.ifindex, address }
    }),
  )
  return ends as [(typeof ends)[0], (typeof ends)[0]]
}

describe('UDP sockets in namespaces', () => {
  test('talk across a veth pair', async () => {
    const [one, two] = await joined()
    const server = socket(AF_INET, SOCK_DGRAM, 0, two.netns)
    native.bind(server, inet('0.0.0.0', 6767))
    expect(native.getsockname(server)).toEqual(new Uint8Array(inet('0.0.0.0', 6767)))
    const client = socket(AF_INET, SOCK_DGRAM, 0, one.netns)
    native.bind(client, inet('192.0.2.1', 6868))
    expect(native.send(client, Buffer.from('discover'), inet('192.0.2.2', 6767))).toBe(8)
    const { data, address } = await next(server)
    expect(Buffer.from(data).toString()).toBe('discover')
    expect(Buffer.from(address)).toEqual(inet('192.0.2.1', 6868))
    native.send(server, Buffer.from('offer'), address)
    expect(Buffer.from((await next(client)).data).toString()).toBe('offer')
  })

  test('know only the addresses of their namespace', async () => {
    const [one] = await joined()
    const elsewhere = socket(AF_INET, SOCK_DGRAM)
    expect(refusal(() => native.bind(elsewhere, inet('192.0.2.1', 6868)))).toMatchObject({
      code: 'EADDRNOTAVAIL',
      syscall: 'bind',
    })
    native.bind(socket(AF_INET, SOCK_DGRAM, 0, one.netns), inet('192.0.2.1', 6868))
  })
})

describe('packet sockets in namespaces', () => {
  test('get what their filter lets through, and who sent it', async () => {
    const [one, two] = await joined()
    const receiver = socket(AF_PACKET, SOCK_DGRAM, 0, two.netns)
    // As a DHCP client's: UDP to port 68. Offsets count from the IP header, a DGRAM socket sees no Ethernet header.
    native.attachFilter(
      receiver,
      bpf(
        [0x30, 0, 0, 9], // ldb [9]
        [0x15, 0, 3, 17], // jeq #17, else drop
        [0x28, 0, 0, 22], // ldh [22]
        [0x15, 0, 1, 68], // jeq #68, else drop
        [0x06, 0, 0, 0xffff],
        [0x06, 0, 0, 0],
      ),
    )
    native.bind(receiver, linkLayer(ETH_P_IP, two.index))
    const sender = socket(AF_PACKET, SOCK_DGRAM, 0, one.netns)
    const to = linkLayer(ETH_P_IP, one.index, two.address)
    for (const [port, text] of [
      [69, 'dropped'],
      [68, 'wanted'],
    ] as const)
      native.send(sender, udpPacket('192.0.2.1', '192.0.2.2', port, text), to)
    const { data, address } = await next(receiver)
    expect(Buffer.from(data.subarray(28)).toString()).toBe('wanted')
    const source = Buffer.from(address)
    expect(source.readUInt16LE(0)).toBe(AF_PACKET)
    expect(source.readUInt16BE(2)).toBe(ETH_P_IP)
    expect(source.readInt32LE(4)).toBe(two.index)
    expect([...source.subarray(12, 18)]).toEqual(one.address)
    expect(native.receive(receiver, 100)).toBeNull()
  })

  test('send to the broadcast address before there is any IP address', async () => {
    const [one, two] = await joined()
    await one.space.ip('addr', 'flush', 'dev', 'eth0')
    const receiver = socket(AF_INET, SOCK_DGRAM, 0, two.netns)
    native.bind(receiver, inet('0.0.0.0', 67))
    const sender = socket(AF_PACKET, SOCK_DGRAM, 0, one.netns)
    const all = linkLayer(ETH_P_IP, one.index, [255, 255, 255, 255, 255, 255])
    native.send(sender, udpPacket('0.0.0.0', '255.255.255.255', 67, 'anybody?'), all)
    const { data, address } = await next(receiver)
    expect(Buffer.from(data).toString()).toBe('anybody?')
    expect(Buffer.from(address)).toEqual(inet('0.0.0.0', 4711))
  })
})

describe('netlink sockets', () => {
  /** `struct sockaddr_nl`. */
  const netlinkAddress = (pid: number, groups = 0): Buffer => {
    const bytes = Buffer.alloc(12)
    bytes.writeUInt16LE(AF_NETLINK, 0)
    bytes.writeUInt32LE(pid, 4)
    bytes.writeUInt32LE(groups, 8)
    return bytes
  }

  test('tell of changes in their namespace', async () => {
    const inside = await space()
    const events = socket(AF_NETLINK, SOCK_RAW, 0, enter(inside))
    native.bind(events, netlinkAddress(0, 1))
    const first = next(events)
    await inside.ip('link', 'set', 'lo', 'up')
    const { data, address } = await first
    expect(replies(data)[0]!.type).toBe(16)
    expect(Buffer.from(address).readUInt32LE(4)).toBe(0)
  })

  test('believe no answer that another process sends', async () => {
    const inside = await space()
    const netns = enter(inside)
    const victim = socket(AF_NETLINK, SOCK_RAW, 0, netns)
    native.bind(victim, netlinkAddress(1234))
    const forger = socket(AF_NETLINK, SOCK_RAW, 0, netns)
    // A closing message with the right number, waiting before the kernel's own.
    const forged = Buffer.alloc(36)
    forged.writeUInt32LE(36, 0)
    forged.writeUInt16LE(2, 4)
    forged.writeUInt32LE(7, 8)
    forged.writeInt32LE(-1, 16)
    expect(native.send(forger, forged, netlinkAddress(1234))).toBe(36)
    const found = replies(native.transactSync(victim, getLink(7), expecting(7)))
    expect(found.map(({ type, error }) => [type, error])).toEqual([
      [16, 0],
      [2, 0],
    ])
  })

  test('take dumps of any length whole', async () => {
    const inside = await space()
    const count = 1500
    const lines = Array.from({ length: count }, (_, n) => `address add 10.${n >> 8}.${n & 255}.1/32 dev lo\n`)
    await inside.must('ip', ['-batch', '-'], { input: lines.join('') })
    const link = socket(AF_NETLINK, SOCK_RAW, 0, enter(inside))
    const RTM_GETADDR = 22
    const request = Buffer.alloc(24)
    request.writeUInt32LE(24, 0)
    request.writeUInt16LE(RTM_GETADDR, 4)
    request.writeUInt16LE(0x301, 6)
    request.writeUInt32LE(1, 8)
    request.writeUInt8(AF_INET, 16)
    for (const bytes of [
      native.transactSync(link, request, expecting(1)),
      await native.transact(link, request, expecting(1)),
    ]) {
      const found = replies(bytes)
      expect(found.filter(({ type }) => type === 20)).toHaveLength(count)
      expect(found.at(-1)!.type).toBe(3)
    }
  })
})
