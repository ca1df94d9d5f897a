/** Netlink exchanges of this process that fail where a test wants it. */
import { onTestFinished, vi } from 'vitest'
import { binding, type TransactOptions } from '../../../native/binding.ts'
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

/** What becomes of an exchange. */
interface Plan {
  /** Null: nothing is sent. */
  readonly datagram: Uint8Array | null
  readonly expected: number
  /** What the caller gets. @throws Error where that is a failure */
  finish(answers: Uint8Array): Uint8Array
}

/** Counts exchanges (or requests, for refusals) and fails the one of a number, once. */
export class FaultyTransport {
  #fault: Fault
  #left: number
  /** Whether it came to that. */
  struck = false

  /** @param number from 1 */
  constructor(fault: Fault, number: number) {
    this.#fault = fault
    this.#left = number
  }

  /** Begins to count once more, for connections that stay open. @param number from 1 */
  arm(fault: Fault, number: number): void {
    this.#fault = fault
    this.#left = number
    this.struck = false
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
    return {
      transact: async (socket, bytes, options) => {
        const { datagram, expected, finish } = this.#plan(isRoute, bytes, options)
        return finish(
          datagram ? await binding().transact(socket, datagram, { ...options, expected }) : new Uint8Array(),
        )
      },
      transactSync: (socket, bytes, options) => {
        const { datagram, expected, finish } = this.#plan(isRoute, bytes, options)
        return finish(
          datagram ? binding().transactSync(socket, datagram, { ...options, expected }) : new Uint8Array(),
        )
      },
    }
  }

  #plan(isRoute: boolean, datagram: Uint8Array, { expected }: TransactOptions): Plan {
    const fail = (): never => {
      throw outOfMemory()
    }
    const as = { datagram, expected, finish: (answers: Uint8Array) => answers }
    if (this.struck) return as
    if (this.#fault === 'refused') return isRoute ? (this.#refusing(datagram) ?? as) : as
    if (--this.#left > 0) return as
    this.struck = true
    return this.#fault === 'unanswered' ? { ...as, finish: fail } : { ...as, datagram: null, finish: fail }
  }

  /** Null where it is none of these requests' turn. */
  #refusing(datagram: Uint8Array): Plan | null {
    const requests = requestsOf(datagram)
    if (this.#left > requests.length) {
      this.#left -= requests.length
      return null
    }
    this.struck = true
    const [refused] = requests.splice(this.#left - 1, 1)
    return {
      datagram: requests.length === 0 ? null : concat(requests),
      expected: requests.length,
      finish: (answers) => concat([answers, refusal(refused!)]),
    }
  }
}
