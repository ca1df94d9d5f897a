/** Netlink exchanges of this process that fail where a test wants it. */
import { onTestFinished, vi } from 'vitest'
import { binding, type Descriptor, type TransactOptions } from '../../../native/binding.ts'
import type { Transport } from '../../../netlink/connection.ts'
import { NETLINK_NETFILTER, Netns } from '../../../netlink/netns.ts'

const ENOMEM = 12
const NLMSG_ERROR = 2
const HEADER = 16

/**
 * How one of them fails: the datagram is not sent, or its answer is lost, or the kernel refuses one of its requests (on
 * sockets of rtnetlink; what nf_tables gets it does altogether or not at all).
 */
export type Fault = 'unsent' | 'unanswered' | 'refused'

const refusal = (header: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(HEADER + 4 + HEADER)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length, true)
  view.setUint16(4, NLMSG_ERROR, true)
  // NLM_F_CAPPED: of the request only its header comes back.
  view.setUint16(6, 0x100, true)
  bytes.set(header.subarray(8, 12), 8)
  view.setInt32(HEADER, -ENOMEM, true)
  bytes.set(header.subarray(0, HEADER), HEADER + 4)
  return bytes
}

const requestsOf = (datagram: Uint8Array): Uint8Array[] => {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  const found: Uint8Array[] = []
  for (let offset = 0; offset < datagram.length; ) {
    const length = view.getUint32(offset, true)
    const end = offset + ((length + 3) & ~3)
    found.push(datagram.slice(offset, end))
    offset = end
  }
  return found
}

const concat = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))

const outOfMemory = (): Error =>
  Object.assign(new Error('sendto: ENOMEM'), { code: 'ENOMEM', errno: ENOMEM, syscall: 'sendto' })

/** Counts exchanges (or requests, for refusals) and fails the one of a number, once. */
export class FaultyTransport {
  readonly #fault: Fault
  #left: number
  /** Whether it came to that. */
  struck = false

  /** @param number from 1 */
  constructor(fault: Fault, number: number) {
    this.#fault = fault
    this.#left = number
  }

  /** Every connection that is opened from now on, until the end of the test, goes over it. */
  install(): void {
    const { connect } = Netns.prototype
    const faulty = this
    const spy = vi.spyOn(Netns.prototype, 'connect').mockImplementation(function (this: Netns, options = {}) {
      const isRoute = options.protocol !== NETLINK_NETFILTER
      return connect.call(this, { ...options, transport: faulty.#transport(isRoute) })
    })
    onTestFinished(() => spy.mockRestore())
  }

  uninstall(): void {
    vi.restoreAllMocks()
  }

  #transport(isRoute: boolean): Transport {
    const transact = async (socket: Descriptor, datagram: Uint8Array, options: TransactOptions) => {
      const send = () => binding().transact(socket, datagram, options)
      if (this.struck) return send()
      if (this.#fault === 'refused') return isRoute ? this.#refuse(socket, datagram, options) : send()
      if (--this.#left > 0) return send()
      this.struck = true
      if (this.#fault === 'unanswered') await send()
      throw outOfMemory()
    }
    const never = () => {
      throw new Error('nobody asked for synchronous exchanges')
    }
    return { transact, transactSync: never }
  }

  async #refuse(socket: Descriptor, datagram: Uint8Array, options: TransactOptions): Promise<Uint8Array> {
    const requests = requestsOf(datagram)
    if (this.#left > requests.length) {
      this.#left -= requests.length
      return binding().transact(socket, datagram, options)
    }
    this.struck = true
    const [refused] = requests.splice(this.#left - 1, 1)
    const answers =
      requests.length === 0
        ? new Uint8Array()
        : await binding().transact(socket, concat(requests), { ...options, expected: requests.length })
    return concat([answers, refusal(refused!)])
  }
}
