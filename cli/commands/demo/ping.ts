/** One ICMP echo from inside a namespace, so that the demonstration needs no program of the system. RFC 792. */
import { randomInt } from 'node:crypto'
import { binding, type Descriptor } from '../../../native/binding.ts'
import { type Netns, parseIp } from '../../../netlink/index.ts'

const AF_INET = 2
const SOCK_RAW = 3
const IPPROTO_ICMP = 1
const EPOLLIN = 1
const ECHO = 8
const ECHO_REPLY = 0

/** The ones' complement sum of RFC 1071. */
const checksum = (bytes: Uint8Array): number => {
  let sum = 0
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16)
  return ~sum & 0xffff
}

const echoRequest = (id: number, sequence: number): Uint8Array => {
  const bytes = new Uint8Array(64)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, ECHO)
  view.setUint16(4, id)
  view.setUint16(6, sequence)
  view.setUint16(2, checksum(bytes))
  return bytes
}

/** `struct sockaddr_in`; the family is in the machine's byte order, the port of a raw socket is of no account. */
const sockaddr = (ip: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(16)
  new Uint16Array(bytes.buffer)[0] = AF_INET
  bytes.set(ip, 4)
  return bytes
}

/** Whether a received IPv4 packet answers the request. */
const answers = (packet: Uint8Array, id: number, sequence: number): boolean => {
  const header = ((packet[0] ?? 0) & 0x0f) * 4
  if (packet.length < header + 8) return false
  const view = new DataView(packet.buffer, packet.byteOffset + header)
  return view.getUint8(0) === ECHO_REPLY && view.getUint16(4) === id && view.getUint16(6) === sequence
}

const untilAnswered = (socket: Descriptor, id: number, sequence: number, timeout: number): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const finish = (value: boolean): void => {
      clearTimeout(timer)
      watch.close()
      resolve(value)
    }
    const timer = setTimeout(() => finish(false), timeout)
    const watch = binding().watch(socket, EPOLLIN, () => {
      try {
        for (let got = binding().receive(socket, 2048); got; got = binding().receive(socket, 2048))
          if (answers(got.data, id, sequence)) return finish(true)
      } catch (error) {
        clearTimeout(timer)
        watch.close()
        reject(error)
      }
    })
  })

/**
 * Pings an IPv4 address from inside a namespace. Equivalent: `ip netns exec NS ping -c1 ADDRESS`.
 * @param timeout milliseconds
 * @returns milliseconds until the answer; null where none came
 * @throws SystemError: no route, no permission
 */
export const ping = async (netns: Netns, address: string, timeout = 2_000): Promise<number | null> => {
  const ip = parseIp(address)
  if (ip?.length !== 4) throw new RangeError(`${JSON.stringify(address)} is not an IPv4 address`)
  const socket = netns.open({ domain: AF_INET, type: SOCK_RAW, protocol: IPPROTO_ICMP })
  try {
    const id = randomInt(0x10000)
    const start = performance.now()
    binding().send(socket, echoRequest(id, 1), sockaddr(ip))
    return (await untilAnswered(socket, id, 1, timeout)) ? performance.now() - start : null
  } finally {
    socket.close()
  }
}
