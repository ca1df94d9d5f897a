/** A client, its time, and the link that it is on: what it sends is recorded, and servers' parts are played by the test. */
import { Client6 } from '../../../../../ipam/dhcp/v6/client.ts'
import type { Lease6 } from '../../../../../ipam/dhcp/v6/lease.ts'
import { encode, type Message, type MessageType, parse } from '../../../../../ipam/dhcp/v6/message.ts'
import type { IaNa, Options, StatusCode } from '../../../../../ipam/dhcp/v6/options.ts'
import {
  defaultRequest,
  type Loss,
  type Settings,
  type Surroundings,
} from '../../../../../ipam/dhcp/v6/surroundings.ts'
import { FakeTime, START } from '../v4/fake-time.ts'
import { hex } from '../wire.ts'

export const CLIENT_ID = hex('0004 000102030405860788090a0b0c0d0e0f')
export const IAID = 0x01020304
export const ADDRESS = '2001:db8:1::100'
export const OTHER_ADDRESS = '2001:db8:1::200'
/** DUIDs in hex. */
export const SERVER = '0002000009bf0badcafe'
export const OTHER_SERVER = '0002000009bf00000002'

export const settings: Settings = {
  clientId: CLIENT_ID,
  iaid: IAID,
  request: defaultRequest,
  provide: new Map(),
  rapidCommit: true,
  probe: false,
}

/** A lease from a file: obtained when the scene's time began. */
export const lease: Lease6 = {
  version: 6,
  address: ADDRESS,
  prefixLength: 128,
  server: SERVER,
  obtainedAt: START,
  renewAt: START + 1_000_000,
  rebindAt: START + 2_000_000,
  preferredUntil: START + 3_000_000,
  expiresAt: START + 4_000_000,
  dnsServers: [],
  domainSearch: [],
}

/** A message as it left. */
export interface Sent {
  readonly at: number
  readonly message: Message
}

export type Event =
  | { readonly what: 'requesting'; readonly lease: Lease6 }
  | { readonly what: 'bound'; readonly lease: Lease6; readonly previous: Lease6 | null }
  | { readonly what: 'lost'; readonly lease: Lease6; readonly why: Loss }
  | { readonly what: 'declined'; readonly address: string }

/** A probe that waits for the test to say what the link answers. */
export interface Probe {
  readonly address: string
  readonly signal: AbortSignal
  resolve(taken: boolean): void
  reject(error: unknown): void
}

/** What a server says, where it differs from the usual. */
export interface Answer {
  readonly server?: string
  readonly address?: string
  readonly preferred?: number
  readonly valid?: number
  readonly ia?: Partial<IaNa>
  readonly options?: Options
}

/** Lets promises that are settled tell so. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A server's answer to `request`, over the wire and back. */
export const answerTo = (
  { transactionId, options: { clientId } }: Message,
  type: MessageType,
  { server = SERVER, address = ADDRESS, preferred = 3000, valid = 4000, ia = {}, options = {} }: Answer = {},
): Message => {
  const iaAddress = [{ address, preferredLifetime: preferred, validLifetime: valid }]
  const message = parse(
    encode({
      type,
      transactionId,
      options: {
        clientId,
        serverId: hex(server),
        iaNa: [{ iaid: IAID, t1: 1000, t2: 2000, iaAddress, ...ia }],
        ...options,
      },
    }),
  )
  if (!message) throw new Error('the test made a message that is none')
  return message
}

/** An answer whose IA has a status and no address. */
export const refusal = (code: StatusCode, message = 'because'): Answer => ({
  ia: { t1: 0, t2: 0, iaAddress: [], statusCode: { code, message } },
})
/** An answer that has a status as a whole. */
export const refusalOfAll = (code: StatusCode, message = 'because'): Answer => ({
  options: { iaNa: undefined, statusCode: { code, message } },
})

export class Scene {
  readonly time = new FakeTime()
  readonly sent: Sent[] = []
  readonly events: Event[] = []
  readonly probes: Probe[] = []
  readonly logged: string[] = []
  /** When the client said that it has nothing to do for some time, and in which state. */
  readonly idle: { readonly at: number; readonly state: string }[] = []
  /** Those that it was in, one after the other. */
  readonly states: string[] = ['INIT']
  readonly client: Client6
  /** Replaced by tests that want the link to fail, or to answer at once. */
  onSend: (sent: Sent) => void = () => {}
  /** Replaced by tests whose listeners do something. */
  onEvent: (event: Event) => void = () => {}
  onIdle: () => void = () => {}

  constructor(changes: Partial<Settings> = {}) {
    const note = (event: Event): void => {
      this.events.push(event)
      this.onEvent(event)
    }
    const log = (text: string): void => void this.logged.push(text)
    const around: Surroundings = {
      time: this.time,
      log: {
        debug: (text) => void this.states.push(text.split(' to ')[1]!),
        info: log,
        warn: log,
        error: log,
      },
      send: (bytes) => {
        const message = parse(bytes)
        if (!message) throw new Error('the client sent what is no message')
        const sent = { at: this.time.now() - START, message }
        this.sent.push(sent)
        this.onSend(sent)
      },
      isTaken: (address, signal) =>
        new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          this.probes.push({ address, signal, resolve, reject })
        }),
      requesting: (lease) => note({ what: 'requesting', lease }),
      bound: (lease, previous) => note({ what: 'bound', lease, previous }),
      idle: () => {
        this.idle.push({ at: this.now, state: this.client.state })
        this.onIdle()
      },
      lost: (lease, why) => note({ what: 'lost', lease, why }),
      declined: (address) => note({ what: 'declined', address }),
    }
    this.client = new Client6({ ...settings, ...changes }, around)
  }

  get last(): Message {
    const last = this.sent.at(-1)
    if (!last) throw new Error('nothing was sent')
    return last.message
  }

  /** Milliseconds since the test began. */
  get now(): number {
    return this.time.now() - START
  }

  /** Types and times of what was sent since the last call. */
  take(): [MessageType, number][] {
    return this.sent.splice(0).map(({ message, at }) => [message.type, at])
  }

  /** The last request is answered. */
  answer(type: 'ADVERTISE' | 'REPLY', answer: Answer = {}): void {
    this.client.receive(answerTo(this.last, type, answer))
  }

  /** From INIT to BOUND, by rapid commit. */
  bind(answer: Answer = {}): Lease6 {
    this.client.start()
    this.answer('REPLY', { ...answer, options: { rapidCommit: true, ...answer.options } })
    const { lease } = this.client
    if (!lease) throw new Error('there is no lease')
    this.sent.length = 0
    this.events.length = 0
    return lease
  }

  /** From INIT to an exchange in which the lease is to be extended. */
  extend(state: 'RENEWING' | 'REBINDING', answer: Answer = {}): Lease6 {
    const lease = this.bind(answer)
    this.time.pass(state === 'RENEWING' ? 1_000_000 : 2_000_000)
    return lease
  }

  /** From INIT to REQUESTING, an offer of `answer` accepted. */
  request(answer: Answer = {}): void {
    this.client.start()
    this.answer('ADVERTISE', { ...answer, options: { preference: 255, ...answer.options } })
  }
}
