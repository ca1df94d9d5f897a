import { describe, expect, test } from 'vitest'
import { optionCodes } from '../../../../../ipam/dhcp/v6/options.ts'
import { hex, toHex } from '../wire.ts'
import {
  ADDRESS,
  type Answer,
  answerTo,
  CLIENT_ID,
  IAID,
  OTHER_ADDRESS,
  OTHER_SERVER,
  refusal,
  refusalOfAll,
  Scene,
  SERVER,
  settled,
} from './scene.ts'

describe('the way to an address', () => {
  test('is SOLICIT, ADVERTISE, REQUEST, REPLY', () => {
    const scene = new Scene()
    expect(scene.client.state).toBe('INIT')
    scene.client.start()
    expect(scene.client.state).toBe('SOLICITING')
    scene.answer('ADVERTISE')
    expect(scene.client.state).toBe('SOLICITING')
    scene.time.pass(1100)
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.client.lease).toBeNull()
    scene.answer('REPLY', { options: { dnsServers: ['2001:db8::53'], domainSearch: ['example.org'] } })
    expect(scene.client.state).toBe('BOUND')
    expect(scene.take()).toEqual([
      ['SOLICIT', 0],
      ['REQUEST', 1050],
    ])
    const now = scene.time.now()
    expect(scene.client.lease).toEqual({
      version: 6,
      address: ADDRESS,
      prefixLength: 128,
      server: SERVER,
      obtainedAt: now,
      renewAt: now + 1_000_000,
      rebindAt: now + 2_000_000,
      preferredUntil: now + 3_000_000,
      expiresAt: now + 4_000_000,
      dnsServers: ['2001:db8::53'],
      domainSearch: ['example.org'],
    })
    expect(scene.events).toMatchObject([
      { what: 'requesting', lease: { address: ADDRESS, server: SERVER } },
      { what: 'bound', previous: null, lease: scene.client.lease },
    ])
    expect(scene.time.timers).toBe(1)
    expect(scene.client.heard).toBe('')
  })

  test('is shorter with rapid commit', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('REPLY', { options: { rapidCommit: true } })
    expect(scene.client.state).toBe('BOUND')
    expect(scene.take()).toEqual([['SOLICIT', 0]])
    expect(scene.events).toMatchObject([{ what: 'bound' }])
  })

  test('is noted before the offer is accepted, and ends where nobody wants it', () => {
    const scene = new Scene()
    let sent = -1
    scene.onEvent = ({ what }) => {
      if (what !== 'requesting') return
      sent = scene.sent.length
      scene.client.stop()
    }
    scene.request()
    expect(sent).toBe(1)
    expect(scene.sent).toHaveLength(1)
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
  })

  test('may be answered before a message counts as sent', () => {
    const scene = new Scene()
    scene.onSend = ({ message }) => {
      if (message.type === 'SOLICIT') scene.answer('ADVERTISE', { options: { preference: 255 } })
      if (message.type === 'REQUEST') scene.answer('REPLY')
    }
    scene.client.start()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.take().map(([type]) => type)).toEqual(['SOLICIT', 'REQUEST'])
    expect(scene.time.timers).toBe(1)
  })
})

describe('what is said', () => {
  test('in a SOLICIT', () => {
    const scene = new Scene({ request: [23, 24, 23, 82], provide: new Map([[15, hex('00026162')]]) })
    scene.client.start()
    expect(scene.last).toEqual({
      type: 'SOLICIT',
      transactionId: 0x80_0000,
      options: {
        clientId: CLIENT_ID,
        rapidCommit: true,
        iaNa: [{ iaid: IAID, t1: 0, t2: 0 }],
        // SOL_MAX_RT always (section 18.2.1), and nothing twice.
        optionRequest: [optionCodes.solMaxRt, 23, 24],
        elapsedTime: 0,
        others: [{ code: 15, value: hex('00026162') }],
      },
    })
  })

  test('in a REQUEST: to whom, and for what', () => {
    const scene = new Scene()
    scene.request()
    const { options } = scene.last
    expect(toHex(options.serverId!)).toBe(SERVER)
    expect(options.rapidCommit).toBeUndefined()
    expect(options.optionRequest).toEqual([82, 23, 24])
    expect(options.iaNa).toEqual([
      { iaid: IAID, t1: 0, t2: 0, iaAddress: [{ address: ADDRESS, preferredLifetime: 0, validLifetime: 0 }] },
    ])
  })

  test('without rapid commit where it is not wanted', () => {
    const scene = new Scene({ rapidCommit: false })
    scene.client.start()
    expect(scene.last.options.rapidCommit).toBeUndefined()
    scene.answer('REPLY', { options: { rapidCommit: true } })
    expect(scene.client.state).toBe('SOLICITING')
  })
})

describe('the choice of a server (section 18.2.9)', () => {
  const offer = (scene: Scene, server: string, preference: number | undefined, address = ADDRESS) =>
    scene.answer('ADVERTISE', { server, address, options: { preference } })

  test('waits for the first RT, and takes the highest preference', () => {
    const scene = new Scene()
    scene.client.start()
    offer(scene, '000300010001', 3)
    offer(scene, OTHER_SERVER, 7, OTHER_ADDRESS)
    offer(scene, SERVER, undefined)
    scene.time.pass(1049)
    expect(scene.client.state).toBe('SOLICITING')
    scene.time.pass(1)
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
    expect(scene.last.options.iaNa?.[0]?.iaAddress?.[0]?.address).toBe(OTHER_ADDRESS)
  })

  test('waits for nobody after a preference of 255', () => {
    const scene = new Scene()
    scene.client.start()
    offer(scene, SERVER, 254)
    offer(scene, OTHER_SERVER, 255)
    expect(scene.client.state).toBe('REQUESTING')
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
  })

  test('of equals it is the first; an offer that is repeated counts as it was said last', () => {
    const scene = new Scene()
    scene.client.start()
    offer(scene, SERVER, 5)
    offer(scene, OTHER_SERVER, 5)
    offer(scene, SERVER, 1)
    offer(scene, '000300010001', 5)
    scene.time.pass(1050)
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
  })

  test('after the first RT the first offer is taken', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(1050)
    expect(scene.sent).toHaveLength(2)
    scene.answer('ADVERTISE', { options: { preference: 0 } })
    expect(scene.client.state).toBe('REQUESTING')
  })

  test('a link of invented servers takes no more than a little memory', () => {
    const scene = new Scene()
    scene.client.start()
    for (let i = 0; i < 100; i++) offer(scene, `0003000100${i.toString(16).padStart(4, '0')}`, 1)
    scene.time.pass(1050)
    // Those that were kept are asked one after the other, ten times each; then it begins anew.
    scene.time.pass(16 * 400_000)
    expect(scene.events.filter(({ what }) => what === 'requesting').length).toBe(16)
  })

  test('a server that says nothing more gives way to the next one', () => {
    const scene = new Scene()
    scene.client.start()
    offer(scene, SERVER, 5)
    offer(scene, OTHER_SERVER, 1, OTHER_ADDRESS)
    scene.time.pass(1050)
    scene.time.pass(1000 * (1 + 2 + 4 + 8 + 16 + 5 * 30) - 1)
    expect(toHex(scene.last.options.serverId!)).toBe(SERVER)
    scene.time.pass(1)
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.sent).toHaveLength(1 + 10 + 1)
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
    expect(scene.client.heard).toBe(`server ${SERVER} offered ${ADDRESS}, and then said nothing more`)
    scene.time.pass(400_000)
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'requesting'])
    expect(scene.client.state).toBe('SOLICITING')
  })
})

describe('an ADVERTISE that offers nothing', () => {
  test.each<[string, Answer, string]>([
    [
      'no address left',
      refusal('NoAddrsAvail', 'pool empty'),
      `server ${SERVER} said NoAddrsAvail: pool empty`,
    ],
    ['said of the whole message', refusalOfAll('NoAddrsAvail', ''), `server ${SERVER} said NoAddrsAvail`],
    ['a status without a name', refusal(4711, 'x'), `server ${SERVER} said status 4711: x`],
    ['no IA', { options: { iaNa: [] } }, `server ${SERVER} gave no address that can be used`],
    ["another interface's IA", { ia: { iaid: 7 } }, `server ${SERVER} gave no address that can be used`],
    [
      'an IA with T1 after T2',
      { ia: { t1: 21, t2: 20 } },
      `server ${SERVER} gave no address that can be used`,
    ],
    ['a multicast address', { address: 'ff02::1' }, `server ${SERVER} gave no address that can be used`],
  ])('%s', (_, answer, heard) => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('ADVERTISE', { ...answer, options: { preference: 255, ...answer.options } })
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.client.heard).toBe(heard)
    // The timer of the SOLICIT goes on (section 18.2.9).
    scene.time.pass(1050)
    expect(scene.take()).toEqual([
      ['SOLICIT', 0],
      ['SOLICIT', 1050],
    ])
  })
})

describe('a REPLY to a REQUEST that gives nothing', () => {
  test.each<[string, Answer]>([
    ['NoAddrsAvail', refusal('NoAddrsAvail')],
    ['NotOnLink', refusal('NotOnLink')],
    ['NotOnLink of all', refusalOfAll('NotOnLink')],
    ['UnspecFail', refusalOfAll('UnspecFail')],
    ['NoBinding', refusal('NoBinding')],
    ['an address that ends at once', { preferred: 0, valid: 0 }],
    ['an address that is longer preferred than valid', { preferred: 41, valid: 40 }],
  ])('%s: the next server, and then from the start', (_, answer) => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('ADVERTISE')
    scene.answer('ADVERTISE', { server: OTHER_SERVER })
    scene.time.pass(1050)
    scene.answer('REPLY', answer)
    expect(scene.client.state).toBe('REQUESTING')
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
    scene.answer('REPLY', { ...answer, server: OTHER_SERVER })
    expect(scene.client.state).toBe('INIT')
    expect(scene.client.heard).toMatch(new RegExp(`^server ${OTHER_SERVER} (said|gave)`))
    scene.time.pass(0)
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'requesting'])
  })

  test('UseMulticast is no answer: everything is multicast', () => {
    const scene = new Scene()
    scene.request()
    scene.answer('REPLY', refusalOfAll('UseMulticast'))
    expect(scene.client.state).toBe('REQUESTING')
    scene.time.pass(1000)
    expect(scene.take().map(([type]) => type)).toEqual(['SOLICIT', 'REQUEST', 'REQUEST'])
  })

  test('a server that offers and then refuses is not asked in a loop', () => {
    const scene = new Scene()
    scene.onSend = ({ message }) => {
      if (message.type === 'SOLICIT') scene.answer('ADVERTISE', { options: { preference: 255 } })
      if (message.type === 'REQUEST') scene.answer('REPLY', refusal('NoAddrsAvail'))
    }
    scene.client.start()
    scene.time.pass(70_000)
    const times = scene
      .take()
      .filter(([type]) => type === 'SOLICIT')
      .map(([, at]) => at / 1000)
    expect(times).toEqual([0, 0, 1, 3, 7, 15, 31, 63])
  })

  test('a rapid commit without an address is no answer', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('REPLY', { ...refusal('NoAddrsAvail'), options: { rapidCommit: true } })
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.client.heard).toContain('NoAddrsAvail')
  })
})

describe('what is passed over', () => {
  const replies: [string, (scene: Scene) => void][] = [
    [
      'another transaction',
      (scene) => scene.client.receive(answerTo({ ...scene.last, transactionId: 1 }, 'REPLY')),
    ],
    ["another client's", (scene) => scene.answer('REPLY', { options: { clientId: hex('000400') } })],
    ['without a client', (scene) => scene.answer('REPLY', { options: { clientId: undefined } })],
    ['without a server', (scene) => scene.answer('REPLY', { options: { serverId: undefined } })],
    ["another server's", (scene) => scene.answer('REPLY', { server: OTHER_SERVER })],
    ['an ADVERTISE', (scene) => scene.answer('ADVERTISE')],
    ['what a client says', (scene) => scene.client.receive(scene.last)],
    ['a RECONFIGURE', (scene) => scene.client.receive(answerTo(scene.last, 'RECONFIGURE'))],
  ]
  test.each(replies)('%s, in REQUESTING', (_, act) => {
    const scene = new Scene()
    scene.request()
    act(scene)
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.client.lease).toBeNull()
    expect(scene.client.heard).toBe('')
  })

  test.each<[string, (scene: Scene) => void]>([
    [
      'another transaction',
      (scene) => scene.client.receive(answerTo({ ...scene.last, transactionId: 1 }, 'ADVERTISE')),
    ],
    ["another client's", (scene) => scene.answer('ADVERTISE', { options: { clientId: hex('000400') } })],
    ['without a server', (scene) => scene.answer('ADVERTISE', { options: { serverId: undefined } })],
    ['a REPLY without rapid commit', (scene) => scene.answer('REPLY')],
  ])('%s, in SOLICITING', (_, act) => {
    const scene = new Scene()
    scene.client.start()
    act(scene)
    scene.time.pass(1050)
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.sent).toHaveLength(2)
  })

  test('what comes twice, and what comes late', () => {
    const scene = new Scene()
    let calls = 0
    scene.time.chance = () => (calls++ % 10) / 10
    scene.request()
    const solicit = scene.sent[0]!.message
    const request = scene.last
    scene.client.receive(answerTo(solicit, 'REPLY', { options: { rapidCommit: true } }))
    expect(scene.client.state).toBe('REQUESTING')
    scene.client.receive(answerTo(request, 'REPLY'))
    scene.client.receive(answerTo(request, 'REPLY', { address: OTHER_ADDRESS }))
    scene.client.receive(answerTo(solicit, 'ADVERTISE'))
    expect(scene.client.lease?.address).toBe(ADDRESS)
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'bound'])
  })

  test('everything, before it has begun and after it has ended', () => {
    const scene = new Scene()
    scene.client.start()
    const { last } = scene
    scene.client.stop()
    scene.client.receive(answerTo(last, 'REPLY', { options: { rapidCommit: true } }))
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.client.lease).toBeNull()
  })
})

describe('SOL_MAX_RT', () => {
  /** Seconds between SOLICITs once they do not grow any more. */
  const pause = (scene: Scene): number => {
    scene.time.pass(40_000_000)
    const [before, last] = scene.take().slice(-2)
    return (last![1] - before![1]) / 1000
  }
  /** What servers advertise, with no address. */
  const advertised = (...values: number[]): Scene => {
    const scene = new Scene()
    scene.client.start()
    for (const [i, solMaxRt] of values.entries())
      scene.answer('ADVERTISE', {
        ...refusal('NoAddrsAvail'),
        server: `00030001000${i}`,
        options: { solMaxRt },
      })
    return scene
  }

  test.each([
    [[], 3600],
    [[60], 60],
    [[600], 600],
    [[86_400], 16_384 * 1.05],
    // Out of its range (section 21.24).
    [[59], 3600],
    [[86_401], 3600],
    [[0], 3600],
    // Servers that do not agree (section 18.2.9).
    [[600, 600], 600],
    [[600, 700], 3600],
  ])('%j leads to %i seconds', (values, seconds) => {
    expect(pause(advertised(...values))).toBeCloseTo(seconds, 0)
  })

  test('counts in a REPLY that refuses', () => {
    const scene = new Scene()
    scene.request()
    scene.answer('REPLY', { ...refusal('NoAddrsAvail'), options: { solMaxRt: 120 } })
    expect(pause(scene)).toBe(120)
  })
})

describe('a check of the link (RFC 4862 section 5.4)', () => {
  const checking = (): Scene => {
    const scene = new Scene({ probe: true })
    scene.request()
    scene.answer('REPLY')
    return scene
  }

  test('comes before the address is used', async () => {
    const scene = checking()
    expect(scene.client.state).toBe('CHECKING')
    expect(scene.probes.map(({ address }) => address)).toEqual([ADDRESS])
    expect(scene.client.lease).toBeNull()
    // The end of what is checked.
    expect(scene.time.next).toBe(4_000_000)
    scene.probes[0]!.resolve(false)
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'bound'])
  })

  test('is noted where nothing was before: after a rapid commit, and for another address than was offered', () => {
    const rapid = new Scene({ probe: true })
    rapid.client.start()
    rapid.answer('REPLY', { options: { rapidCommit: true } })
    expect(rapid.events).toMatchObject([{ what: 'requesting', lease: { address: ADDRESS } }])
    const other = new Scene({ probe: true })
    other.request()
    other.answer('REPLY', { address: OTHER_ADDRESS })
    expect(other.events).toMatchObject([
      { what: 'requesting', lease: { address: ADDRESS } },
      { what: 'requesting', lease: { address: OTHER_ADDRESS } },
    ])
  })

  test('that finds a host makes it DECLINE, and look for another', async () => {
    const scene = checking()
    scene.take()
    scene.probes[0]!.resolve(true)
    await settled()
    expect(scene.client.state).toBe('DECLINING')
    expect(scene.client.heard).toBe(`server ${SERVER} gave ${ADDRESS}, which another host on the link uses`)
    expect(scene.events.at(-1)).toEqual({ what: 'declined', address: ADDRESS })
    expect(scene.last).toMatchObject({
      type: 'DECLINE',
      options: {
        serverId: hex(SERVER),
        iaNa: [{ iaid: IAID, t1: 0, t2: 0, iaAddress: [{ address: ADDRESS }] }],
      },
    })
    expect(scene.last.options.optionRequest).toBeUndefined()
    // Whatever its status is (section 18.2.10.2).
    scene.answer('REPLY', refusal('NoBinding'))
    scene.time.pass(0)
    expect(scene.take()).toEqual([
      ['DECLINE', 0],
      ['SOLICIT', 0],
    ])
  })

  test('that takes longer than the lease lasts is broken off', async () => {
    const scene = new Scene({ probe: true })
    scene.request()
    scene.answer('REPLY', { preferred: 1, valid: 1, ia: { t1: 0, t2: 0 } })
    scene.time.pass(1000)
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.probes[0]!.signal.aborted).toBe(true)
    await settled()
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting'])
  })

  test('that fails counts for the server', async () => {
    const scene = checking()
    scene.probes[0]!.reject(new Error('no socket'))
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.logged.join()).toContain(`${ADDRESS} could not be asked for: no socket`)
  })

  test.each(['stop', 'release'] as const)('is broken off by %s', async (how) => {
    const scene = checking()
    scene.take()
    scene.client[how]()
    expect(scene.probes[0]!.signal.aborted).toBe(true)
    await settled()
    expect(scene.client.state).toBe('STOPPED')
    // The server has given the address already.
    expect(scene.take().map(([type]) => type)).toEqual(how === 'release' ? ['RELEASE'] : [])
    expect(scene.logged).toEqual([])
  })
})

test('a message that can not be sent is one that was lost', () => {
  const scene = new Scene()
  scene.onSend = () => {
    throw new Error('ENETDOWN')
  }
  scene.client.start()
  expect(scene.client.heard).toBe('SOLICIT could not be sent: ENETDOWN')
  scene.onSend = () => {}
  scene.time.pass(1050)
  scene.answer('ADVERTISE')
  scene.answer('REPLY')
  expect(scene.client.state).toBe('BOUND')
})
