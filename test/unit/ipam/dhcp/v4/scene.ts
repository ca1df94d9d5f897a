/** A client, its time, and the link that it is on: what it sends is recorded, and a server's part is played by the test. */
import {
  Client4,
  type Destination,
  type Loss,
  type Settings,
  type Surroundings,
} from '../../../../../ipam/dhcp/v4/client.ts'
import type { Lease4 } from '../../../../../ipam/dhcp/v4/lease.ts'
import { encode, type Message, parse } from '../../../../../ipam/dhcp/v4/message.ts'
import { type MessageType, type OptionValues, read, write } from '../../../../../ipam/dhcp/v4/options.ts'
import { FakeTime, START } from './fake-time.ts'

export const MAC = Uint8Array.of(2, 0, 0x5e, 0, 0x53, 1)
export const CLIENT_ID = Uint8Array.from(Buffer.from('\0c1/net/eth0'))
export const ADDRESS = '192.0.2.10'
export const SERVER = '192.0.2.1'
export const OTHER_SERVER = '192.0.2.2'
export const SERVER_MAC = '02:00:5e:00:53:fe'

export const settings: Settings = {
  mac: MAC,
  clientId: CLIENT_ID,
  broadcast: false,
  request: [121, 1, 3, 6],
  provide: new Map(),
  arpProbe: false,
  firstTimeout: 4000,
  maxTimeout: 64_000,
}

/** A message as it left. */
export interface Sent {
  readonly at: number
  readonly type: MessageType
  readonly message: Message
  readonly to: Destination
}

export type Event =
  | { readonly what: 'requesting'; readonly lease: Lease4 }
  | { readonly what: 'bound'; readonly lease: Lease4; readonly previous: Lease4 | null }
  | { readonly what: 'lost'; readonly lease: Lease4; readonly why: Loss }
  | { readonly what: 'declined'; readonly address: string }

/** What a server says, where it differs from the usual. */
export interface Answer {
  readonly options?: OptionValues
  readonly raw?: ReadonlyMap<number, Uint8Array>
  readonly fields?: Partial<Message>
}

/** A probe that waits for the test to say what the link answers. */
export interface Probe {
  readonly address: string
  readonly signal: AbortSignal
  resolve(taken: boolean): void
  reject(error: unknown): void
}

/** Lets promises that are settled tell so. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A server's answer to `request`, over the wire and back. */
export const answerTo = (
  request: Message,
  messageType: MessageType,
  { options = {}, raw = new Map(), fields = {} }: Answer = {},
): Message => {
  const values: OptionValues =
    messageType === 'NAK'
      ? { messageType, serverId: SERVER, ...options }
      : { messageType, serverId: SERVER, leaseTime: 3600, subnetMask: '255.255.255.0', ...options }
  const message: Message = {
    ...request,
    op: 'BOOTREPLY',
    ciaddr: '0.0.0.0',
    yiaddr: messageType === 'NAK' ? '0.0.0.0' : ADDRESS,
    options: new Map([...write(values), ...raw]),
    ...fields,
  }
  const read = parse(encode(message))
  if (!read) throw new Error('the test made a message that is none')
  return read
}

export class Scene {
  readonly time = new FakeTime()
  readonly sent: Sent[] = []
  readonly events: Event[] = []
  readonly probes: Probe[] = []
  readonly logged: string[] = []
  /** When the client said that it has nothing to do for some time, and in which state. */
  readonly idle: { readonly at: number; readonly state: string }[] = []
  readonly client: Client4
  /** Replaced by tests that want the link to fail. */
  onSend: (sent: Sent) => void = () => {}
  /** Replaced by tests whose listeners do something. */
  onEvent: (event: Event) => void = () => {}
  onProbe: () => void = () => {}
  onIdle: () => void = () => {}

  constructor(changes: Partial<Settings> = {}) {
    const note = (event: Event): void => {
      this.events.push(event)
      this.onEvent(event)
    }
    const log = (text: string): void => void this.logged.push(text)
    const around: Surroundings = {
      time: this.time,
      log: { debug: () => {}, info: log, warn: log, error: log },
      send: (bytes, to) => {
        const message = parse(bytes)
        const type = message && read(message, 'messageType')
        if (!message || !type) throw new Error('the client sent what is no message')
        const sent = { at: this.time.now() - START, type, message, to }
        this.sent.push(sent)
        this.onSend(sent)
      },
      isTaken: (address, signal) => {
        this.onProbe()
        return new Promise((resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason))
          this.probes.push({ address, signal, resolve, reject })
        })
      },
      requesting: (lease) => note({ what: 'requesting', lease }),
      bound: (lease, previous) => note({ what: 'bound', lease, previous }),
      idle: () => {
        this.idle.push({ at: this.now, state: this.client.state })
        this.onIdle()
      },
      lost: (lease, why) => note({ what: 'lost', lease, why }),
      declined: (address) => note({ what: 'declined', address }),
    }
    this.client = new Client4({ ...settings, ...changes }, around)
  }

  get last(): Sent {
    const last = this.sent.at(-1)
    if (!last) throw new Error('nothing was sent')
    return last
  }

  /** Types and times of what was sent since the last call. */
  take(): { readonly type: MessageType; readonly at: number }[] {
    return this.sent.splice(0).map(({ type, at }) => ({ type, at }))
  }

  /** The last request is answered. @param mac where the answer comes from */
  answer(type: MessageType, answer: Answer = {}, mac = SERVER_MAC): void {
    this.client.receive(answerTo(this.last.message, type, answer), mac)
  }

  /** From INIT to BOUND. */
  bind(options: OptionValues = {}): Lease4 {
    this.client.start()
    this.answer('OFFER', { options })
    this.answer('ACK', { options })
    const { lease } = this.client
    if (!lease) throw new Error('there is no lease')
    return lease
  }

  /** Milliseconds since the test began. */
  get now(): number {
    return this.time.now() - START
  }
}

export const option = <N extends Parameters<typeof read>[1]>({ message }: Sent, name: N) =>
  read(message, name)
