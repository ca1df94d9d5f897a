/** Servers, links and callers that do anything, in any order, and what has to be true of a client all the same. */
import fc from 'fast-check'
import { encode, parse } from '../../../../../ipam/dhcp/v6/message.ts'
import { INFINITY, type StatusCode, statusCodes } from '../../../../../ipam/dhcp/v6/options.ts'
import {
  ADDRESS,
  type Answer,
  answerTo,
  lease,
  OTHER_ADDRESS,
  OTHER_SERVER,
  Scene,
  SERVER,
  settled,
} from './scene.ts'

const seconds = fc.oneof(fc.constantFrom(0, 1, 2, 10, 60, 1000, INFINITY), fc.nat({ max: 100 }))
const status = fc.record({
  code: fc.constantFrom<StatusCode>(...(Object.keys(statusCodes) as (keyof typeof statusCodes)[]), 99),
  message: fc.constant(''),
})
const sometimes = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 3 })

const answer: fc.Arbitrary<Answer> = fc
  .record({
    server: fc.constantFrom(SERVER, SERVER, SERVER, OTHER_SERVER),
    address: fc.constantFrom(ADDRESS, ADDRESS, OTHER_ADDRESS, 'fe80::1'),
    preferred: seconds,
    valid: seconds,
    t1: seconds,
    t2: seconds,
    iaStatus: sometimes(status),
    statusCode: sometimes(status),
    rapidCommit: fc.option(fc.constant(true as const), { nil: undefined }),
    preference: sometimes(fc.constantFrom(1, 255)),
    solMaxRt: sometimes(fc.constantFrom(1, 60, 600)),
    noAddress: fc.nat({ max: 9 }),
  })
  .map(({ t1, t2, iaStatus, noAddress, server, address, preferred, valid, ...options }) => ({
    server,
    address,
    preferred: Math.min(preferred, noAddress === 9 ? INFINITY : valid),
    valid,
    ia: { t1, t2, statusCode: iaStatus, ...(noAddress === 0 && { iaAddress: [] }) },
    options,
  }))

type Action =
  | {
      readonly do: 'answer'
      readonly type: 'ADVERTISE' | 'REPLY'
      readonly answer: Answer
      readonly back: number
    }
  | { readonly do: 'damage'; readonly answer: Answer; readonly at: number; readonly byte: number }
  | { readonly do: 'pass' | 'sleep'; readonly milliseconds: number }
  | { readonly do: 'probe'; readonly how: 'taken' | 'free' | 'failed' }
  | { readonly do: 'renew' | 'decline' | 'stop' | 'release' }

const milliseconds = fc.oneof(fc.nat({ max: 5000 }), fc.nat({ max: 100_000 }), fc.nat({ max: 5_000_000 }))

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 60,
    arbitrary: fc.record({
      do: fc.constant('answer' as const),
      type: fc.constantFrom('ADVERTISE' as const, 'REPLY' as const, 'REPLY' as const),
      answer,
      back: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 3 })),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('damage' as const),
      answer,
      at: fc.nat({ max: 150 }),
      byte: fc.nat({ max: 255 }),
    }),
  },
  { weight: 40, arbitrary: fc.record({ do: fc.constant('pass' as const), milliseconds }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('sleep' as const), milliseconds }) },
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant('probe' as const),
      how: fc.constantFrom('taken', 'free', 'free', 'failed'),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('renew' as const, 'decline' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('stop' as const, 'release' as const) }) },
) as fc.Arbitrary<Action>

export interface Story {
  readonly begin: 'start' | 'resume' | 'confirm'
  readonly probe: boolean
  /** Numbers that chance says, over and over. */
  readonly chances: readonly number[]
  /** What becomes of a message, and who is told, over and over. */
  readonly troubles: readonly ('none' | 'throw' | 'stop')[]
  readonly actions: readonly Action[]
}

export const anyStory = (maxLength: number): fc.Arbitrary<Story> =>
  fc.record({
    begin: fc.constantFrom('start' as const, 'start' as const, 'resume' as const, 'confirm' as const),
    probe: fc.boolean(),
    chances: fc.array(fc.double({ min: 0, max: 1 - 2 ** -32, noNaN: true }), { minLength: 1, maxLength: 7 }),
    troubles: fc.oneof(
      fc.constant(['none' as const]),
      fc.array(fc.constantFrom('none' as const, 'none' as const, 'none' as const, 'throw' as const), {
        minLength: 1,
        maxLength: 9,
      }),
      fc.nat({ max: 20 }).map((calm) => [...new Array<'none'>(calm).fill('none'), 'stop' as const]),
    ),
    actions: fc.array(action, { maxLength, size: 'max' }),
  })

const act = async (scene: Scene, one: Action): Promise<void> => {
  const { client, time, sent, probes } = scene
  switch (one.do) {
    case 'answer': {
      const asked = sent.at(-one.back)
      if (asked) client.receive(answerTo(asked.message, one.type, one.answer))
      break
    }
    case 'damage': {
      const asked = sent.at(-1)
      if (!asked) break
      const bytes = encode(answerTo(asked.message, 'REPLY', one.answer))
      bytes[one.at % bytes.length] = one.byte
      const message = parse(bytes)
      if (message) client.receive(message)
      break
    }
    case 'pass':
      time.pass(one.milliseconds)
      break
    case 'sleep':
      time.sleep(one.milliseconds)
      break
    case 'probe': {
      const probe = probes.splice(0).at(-1)
      if (one.how === 'failed') probe?.reject(new Error('failed'))
      else probe?.resolve(one.how === 'taken')
      if (probe) await settled()
      break
    }
    default:
      client[one.do]()
  }
}

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Error(what)
}

const withLease = ['BOUND', 'RENEWING', 'REBINDING', 'CONFIRMING']
const without = ['INIT', 'SOLICITING']

const check = (scene: Scene): void => {
  const { client, time } = scene
  const { state, lease: held } = client
  must(!withLease.includes(state) || held !== null, `no lease in ${state}`)
  must(!without.includes(state) || held === null, `a lease in ${state}`)
  must(time.timers <= 1, `${time.timers} timers`)
  must(state !== 'STOPPED' || time.timers === 0, 'a timer after the end')
  const waits = state !== 'STOPPED' && state !== 'CHECKING' && state !== 'BOUND'
  must(!waits || time.timers === 1, `nothing is awaited in ${state}`)
  const isOver = held !== null && held.expiresAt !== null && time.now() > held.expiresAt
  must(!isOver || state === 'STOPPED', `a lease that has ended in ${state}`)
}

/** Whoever is told of leases knows what the client has. */
const checkEvents = ({ events, client }: Scene, before: typeof lease | null): void => {
  let known = before
  for (const event of events) {
    if (event.what === 'bound') {
      must(event.previous === known, 'another lease than was told of is said to be the one before')
      known = event.lease
    } else if (event.what === 'lost') {
      must(event.lease === known, 'a lease was lost that nobody was told of')
      known = null
    }
  }
  must(client.state === 'STOPPED' || known === client.lease, 'a lease that nobody was told of')
}

/** Twenty at once, and twenty in twenty seconds. A RELEASE is not held back. */
const checkRate = (scene: Scene): void => {
  const sent = scene.sent.filter(({ message }) => message.type !== 'RELEASE')
  for (let i = 41; i < sent.length; i++)
    must(sent[i]!.at - sent[i - 41]!.at > 20_000 - 1, `42 messages in ${sent[i]!.at - sent[i - 41]!.at} ms`)
}

/** @throws Error for what may never be */
export const play = async ({ begin, probe, chances, troubles, actions }: Story): Promise<Scene> => {
  const scene = new Scene({ probe })
  let turn = 0
  scene.time.chance = () => chances[turn++ % chances.length]!
  let told = 0
  const trouble = (): void => {
    const what = troubles[told++ % troubles.length]
    if (what === 'stop') scene.client.stop()
    if (what === 'throw') throw new Error('trouble')
  }
  scene.onSend = trouble
  scene.onEvent = trouble
  scene.onIdle = trouble
  if (begin === 'start') scene.client.start()
  else scene.client.resume(lease, begin === 'confirm')
  check(scene)
  for (const one of actions) {
    await act(scene, one)
    check(scene)
  }
  checkEvents(scene, begin === 'start' ? null : lease)
  checkRate(scene)
  return scene
}
