/** A launcher in the test's own process: the daemon's protocol over the addon, one step at a time. */
import { constants } from 'node:fs'
import { unixAddress } from '../../../daemon/listener.ts'
import {
  ACKNOWLEDGE,
  type Answer,
  Assembly,
  CANCEL,
  type DaemonRequest,
  decodeAnswer,
  decodeWelcome,
  type ExecuteRequest,
  encodeGreeting,
  encodeRequest,
  GREETING,
  MAX_ANSWER,
} from '../../../daemon/protocol.ts'
import { binding, type Descriptor } from '../../../native/binding.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const EPOLLIN = 1
const EPOLLOUT = 4

/** Milliseconds for anything that is waited for. */
const DEADLINE = 20_000

const open = new Set<Client>()

/** A connection to the daemon. */
export class Client {
  readonly socket: Descriptor
  readonly #assembly = new Assembly()
  #ended = false

  private constructor(socket: Descriptor) {
    this.socket = socket
    open.add(this)
  }

  /** Connects, and says nothing. @throws SystemError */
  static connect(path: string): Client {
    const native = binding()
    const [socket] = native.openInNetns(null, [{ domain: AF_UNIX, type: SOCK_STREAM, protocol: 0 }])
    if (!socket || socket instanceof Error) throw socket ?? new Error('no socket')
    try {
      native.connect(socket, unixAddress(path))
    } catch (error) {
      socket.close()
      throw error
    }
    return new Client(socket)
  }

  /** Connects and greets. @throws Error where the daemon takes nothing now */
  static async open(path: string): Promise<Client> {
    const client = Client.connect(path)
    const { version, flags } = await client.greet()
    if (version !== 1 || flags !== 0) throw new Error(`version ${version}, flags ${flags}`)
    return client
  }

  /** Until the socket is ready for `events`. */
  #ready(events: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        watch.close()
        reject(new Error(`nothing came within ${DEADLINE} ms`))
      }, DEADLINE)
      const watch = binding().watch(this.socket, events, () => {
        clearTimeout(late)
        watch.close()
        resolve()
      })
    })
  }

  /** Sends all of it; descriptors go with the first part. */
  async send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): Promise<void> {
    let passed = descriptors
    for (let rest = bytes; rest.length > 0; ) {
      const sent = binding().send(this.socket, rest, null, passed)
      if (sent < 0) await this.#ready(EPOLLOUT)
      else {
        rest = rest.subarray(sent)
        passed = []
      }
    }
  }

  /** Until more has come, or the daemon has closed. */
  async #more(): Promise<void> {
    for (;;) {
      const received = binding().receive(this.socket, 1 << 16)
      if (received) {
        for (const descriptor of received.descriptors) descriptor.close()
        if (received.data.length === 0) this.#ended = true
        else this.#assembly.push(received.data)
        return
      }
      await this.#ready(EPOLLIN)
    }
  }

  async #until<T>(take: () => T | null): Promise<T> {
    for (;;) {
      const taken = take()
      if (taken !== null) return taken
      if (this.#ended) throw new Error('the daemon has closed')
      await this.#more()
    }
  }

  async greet(lowest = 1, highest = 1): Promise<ReturnType<typeof decodeWelcome>> {
    await this.send(encodeGreeting(lowest, highest))
    return await this.welcome()
  }

  /** What answers the greeting. */
  async welcome(): Promise<ReturnType<typeof decodeWelcome>> {
    return decodeWelcome(await this.#until(() => this.#assembly.take(GREETING)))
  }

  async answer(): Promise<Answer> {
    return decodeAnswer(await this.#until(() => this.#assembly.frame(MAX_ANSWER)))
  }

  acknowledge(): Promise<void> {
    return this.send(Uint8Array.of(ACKNOWLEDGE))
  }

  cancel(): Promise<void> {
    return this.send(Uint8Array.of(CANCEL))
  }

  /** Until the daemon has closed. @throws Error where it says something instead, or is late */
  async closed(): Promise<void> {
    while (!this.#ended)
      try {
        await this.#more()
      } catch (error) {
        if ((error as { code?: string }).code !== 'ECONNRESET') throw error
        this.#ended = true
      }
    if (this.#assembly.length > 0) throw new Error(`${this.#assembly.length} bytes came before the end`)
  }

  close(): void {
    open.delete(this)
    this.socket.close()
  }
}

/** Closes what tests left open. */
export const closeClients = (): void => {
  for (const client of open) client.close()
}

const { O_RDONLY, O_NONBLOCK } = constants

/** How a plugin is called, as a launcher sees it. */
export interface Launch {
  readonly type: string
  readonly verb: string
  readonly conf: Readonly<Record<string, unknown>> | string
  readonly containerId?: string | undefined
  readonly ifName?: string | undefined
  /** CNI_NETNS. */
  readonly netns?: string | undefined
  /** Where the test's own process finds it. Default: the same. */
  readonly opened?: string | undefined
  /** Path of the network namespace that the launcher is in. Default: the test's. */
  readonly from?: string | undefined
  readonly environment?: Readonly<Record<string, string>> | undefined
}

/** A request as a launcher makes it, and what goes along with it. */
export const requestOf = (launch: Launch): { request: ExecuteRequest; descriptors: Descriptor[] } => {
  const { type, verb, conf, containerId = 'c1', ifName = 'eth0', netns = '' } = launch
  const { opened = netns, from = '/proc/self/ns/net', environment } = launch
  const descriptors = [binding().open(from, O_RDONLY, 0)]
  let netnsErrno = 0
  if (opened !== '')
    try {
      descriptors.push(binding().open(opened, O_RDONLY | O_NONBLOCK, 0))
    } catch (error) {
      netnsErrno = (error as { errno: number }).errno
    }
  const request: ExecuteRequest = {
    kind: 'execute',
    type,
    environment: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: containerId,
      CNI_IFNAME: ifName,
      CNI_NETNS: netns,
      CNI_PATH: '/opt/cni/bin',
      ...environment,
    },
    stdin: typeof conf === 'string' ? conf : JSON.stringify(conf),
    hasOwnNetns: true,
    hasCniNetns: descriptors.length > 1,
    netnsErrno,
  }
  return { request, descriptors }
}

/** Sends a request on a connection that has greeted. */
export const ask = async (client: Client, launch: Launch): Promise<void> => {
  const { request, descriptors } = requestOf(launch)
  try {
    await client.send(encodeRequest(request), descriptors)
  } finally {
    for (const descriptor of descriptors) descriptor.close()
  }
}

/** Any request and its answer; a result is acknowledged. */
export const exchange = async (path: string, request: DaemonRequest): Promise<Answer> => {
  const client = await Client.open(path)
  try {
    await client.send(encodeRequest(request))
    return await client.answer()
  } finally {
    client.close()
  }
}

/** What a launcher does from beginning to end. */
export const launch = async (path: string, what: Launch): Promise<Answer> => {
  const client = await Client.open(path)
  try {
    await ask(client, what)
    const answer = await client.answer()
    if (answer.acknowledge) {
      await client.acknowledge()
      await client.closed()
    }
    return answer
  } finally {
    client.close()
  }
}
