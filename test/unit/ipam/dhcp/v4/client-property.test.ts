import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { MessageType, OptionValues } from '../../../../../ipam/dhcp/v4/options.ts'
import { type State, transitions } from '../../../../../ipam/dhcp/v4/states.ts'
import { START } from './fake-time.ts'
import { answerTo, CLIENT_ID, OTHER_SERVER, Scene, SERVER, SERVER_MAC, settled } from './scene.ts'

/** What may happen to a client. */
type Step =
  | {
      readonly do: 'answer'
      readonly type: MessageType
      readonly options: OptionValues
      readonly yiaddr: string
    }
  | { readonly do: 'late'; readonly type: MessageType; readonly which: number }
  | { readonly do: 'pass' | 'sleep'; readonly ms: number }
  | { readonly do: 'probe'; readonly taken: boolean | null }
  | { readonly do: 'renew' | 'break' | 'mend' | 'throw' | 'calm' }

const type = fc.constantFrom<MessageType>('OFFER', 'OFFER', 'ACK', 'ACK', 'ACK', 'NAK', 'DISCOVER', 'RELEASE')
const seconds = fc.oneof(
  fc.constantFrom(0, 1, 2, 10, 120, 3600, 86_400, 0xffff_fffe, 0xffff_ffff),
  fc.nat(100_000),
  fc.nat(0xffff_ffff),
)
const options = fc.record(
  {
    leaseTime: seconds,
    renewalTime: seconds,
    rebindingTime: seconds,
    serverId: fc.constantFrom(SERVER, SERVER, OTHER_SERVER, '0.0.0.0', undefined),
    clientId: fc.constantFrom(CLIENT_ID, CLIENT_ID, Uint8Array.of(1, 2)),
    subnetMask: fc.constantFrom('255.255.255.0', '255.255.0.255', undefined),
  },
  { requiredKeys: [] },
)
const ms = fc.oneof(fc.nat(2000), fc.nat(20_000), fc.nat(400_000), fc.nat(4_000_000))

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      type,
      options,
      yiaddr: fc.constantFrom('192.0.2.10', '192.0.2.10', '192.0.2.11', '0.0.0.0'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('late' as const), type, which: fc.nat(50) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('pass' as const, 'sleep' as const), ms }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('probe' as const), taken: fc.constantFrom(false, true, null) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'renew' as const,
        'break' as const,
        'mend' as const,
        'throw' as const,
        'calm' as const,
      ),
    }),
  },
)

/** States in which something is awaited that only a timer can end. */
const timed: readonly State[] = ['INIT', 'SELECTING', 'REQUESTING', 'RENEWING', 'REBINDING', 'REBOOTING']

class Run {
  readonly scene: Scene
  #before: State = 'INIT'

  constructor(arpProbe: boolean, seed: number) {
    this.scene = new Scene({ arpProbe })
    let state = seed
    this.scene.time.chance = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
  }

  #fail(broken: boolean): void {
    this.scene.onSend = broken
      ? () => {
          throw new Error('down')
        }
      : () => {}
  }

  #throw(thrown: boolean): void {
    this.scene.onEvent = thrown
      ? () => {
          throw new Error('full')
        }
      : () => {}
  }

  async take(one: Step): Promise<void> {
    const { scene } = this
    const { client, time } = scene
    switch (one.do) {
      case 'answer':
        scene.answer(one.type, { options: one.options, fields: { yiaddr: one.yiaddr } })
        break
      case 'late': {
        const { message } = scene.sent[one.which % scene.sent.length]!
        client.receive(answerTo(message, one.type), SERVER_MAC)
        break
      }
      case 'pass':
        this.#passing(one.ms, () => time.pass(one.ms))
        break
      case 'sleep':
        time.sleep(one.ms)
        break
      case 'probe': {
        const probe = scene.probes.at(-1)
        if (one.taken === null) probe?.reject(new Error('no'))
        else probe?.resolve(one.taken)
        await settled()
        break
      }
      case 'renew':
        client.renew()
        break
      case 'break':
      case 'mend':
        this.#fail(one.do === 'break')
        break
      case 'throw':
      case 'calm':
        this.#throw(one.do === 'throw')
        break
    }
    this.#look()
  }

  /** However long a server says nothing: so many messages and no more. */
  #passing(ms: number, pass: () => void): void {
    const { sent } = this.scene
    const before = sent.length
    pass()
    // A search every 63 seconds at the busiest; what comes before that is one lease's end and one search's beginning.
    expect(sent.length - before).toBeLessThanOrEqual(100 + ms / 50_000)
  }

  #look(): void {
    const { client, time } = this.scene
    const { state, lease } = client
    expect(time.timers).toBeLessThanOrEqual(1)
    if (timed.includes(state)) expect(time.timers).toBe(1)
    if (state === 'BOUND') expect(time.timers).toBe(lease?.renewAt === null ? 0 : 1)
    if (state === 'CHECKING' || state === 'STOPPED') expect(time.timers).toBe(0)
    const has = state === 'BOUND' || state === 'RENEWING' || state === 'REBINDING' || state === 'REBOOTING'
    if (state !== 'STOPPED') expect(lease !== null).toBe(has)
    expect(reachable(this.#before)).toContain(state)
    this.#before = state
  }
}

/** The states that may follow one in any number of steps. */
const reachable = (from: State): ReadonlySet<State> => {
  const found = new Set<State>([from])
  for (const one of found) for (const next of transitions[one]) found.add(next)
  return found
}

describe('a client', () => {
  test('has one timer at most, a bounded number of messages and a state of the table, whatever happens', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.boolean(),
        fc.nat(0xffff_ffff),
        fc.constantFrom('start', 'resume', 'confirm'),
        fc.constantFrom('stop' as const, 'release' as const),
        async (steps, arpProbe, seed, way, end) => {
          const run = new Run(arpProbe, seed)
          const { scene } = run
          if (way === 'start') scene.client.start()
          else scene.client.resume(new Scene().bind({ leaseTime: 1 + (seed % 5000) }), way === 'confirm')
          if (scene.sent.length === 0) scene.client.renew()
          for (const one of steps) await run.take(one)
          const mayGive =
            scene.client.lease !== null || ['REQUESTING', 'CHECKING'].includes(scene.client.state)
          const before = scene.sent.length
          scene.client[end]()
          const events = scene.events.length
          expect(scene.time.timers).toBe(0)
          for (const type of ['OFFER', 'ACK', 'NAK'] as const) scene.answer(type)
          for (const probe of scene.probes) probe.resolve(false)
          scene.time.pass(1_000_000)
          await settled()
          expect(scene.client.state).toBe('STOPPED')
          // What was asked for and never answered may be given back, too.
          expect(scene.sent.length - before).toBeLessThanOrEqual(end === 'release' ? 1 : 0)
          if (end === 'release' && mayGive) expect(scene.last.type).toBe('RELEASE')
          expect(scene.events).toHaveLength(events)
        },
      ),
      { numRuns: 300 },
    )
  }, 120_000)

  test('never uses an address past its end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          step.filter((one) => one.do !== 'sleep'),
          { maxLength: 25 },
        ),
        async (steps) => {
          const run = new Run(false, 1)
          run.scene.client.start()
          for (const one of steps) {
            await run.take(one)
            const { lease } = run.scene.client
            if (lease && lease.expiresAt !== null) expect(run.scene.time.now()).toBeLessThan(lease.expiresAt)
          }
        },
      ),
      { numRuns: 100 },
    )
  }, 60_000)

  test('reaches every state of the table', () => {
    const states = Object.keys(transitions) as State[]
    expect(new Set(Object.values(transitions).flat())).toEqual(new Set(states))
    expect(transitions.STOPPED).toEqual([])
    for (const state of states) if (state !== 'STOPPED') expect(transitions[state]).toContain('STOPPED')
    expect(START).toBeGreaterThan(0)
  })
})
