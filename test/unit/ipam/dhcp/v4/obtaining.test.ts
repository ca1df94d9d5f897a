import { describe, expect, it, test } from 'vitest'
import {
  ADDRESS,
  type Answer,
  answerTo,
  OTHER_SERVER,
  option,
  Scene,
  SERVER,
  SERVER_MAC,
  settled,
} from './scene.ts'

const EVERYBODY = null

describe('the way to an address', () => {
  test('is DISCOVER, OFFER, REQUEST, ACK', () => {
    const scene = new Scene()
    expect(scene.client.state).toBe('INIT')
    scene.client.start()
    expect(scene.client.state).toBe('SELECTING')
    scene.answer('OFFER')
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.client.lease).toBeNull()
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.take()).toEqual([
      { type: 'DISCOVER', at: 0 },
      { type: 'REQUEST', at: 0 },
    ])
    expect(scene.events).toMatchObject([
      { what: 'requesting', lease: { address: ADDRESS, server: SERVER } },
      { what: 'bound', previous: null, lease: { address: ADDRESS, server: SERVER, serverMac: SERVER_MAC } },
    ])
    expect(scene.time.timers).toBe(1)
    expect(scene.client.heard).toBe('')
  })

  test('is noted before the offer is accepted', () => {
    const scene = new Scene()
    let sent = -1
    scene.onEvent = ({ what }) => {
      if (what === 'requesting') sent = scene.sent.length
    }
    scene.client.start()
    scene.answer('OFFER')
    expect(sent).toBe(1)
    expect(scene.sent).toHaveLength(2)
  })

  test('counts the lease from the request on, not from its answer', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(2000)
    scene.answer('OFFER')
    scene.time.pass(1500)
    scene.answer('ACK')
    expect(scene.client.lease).toMatchObject({
      obtainedAt: scene.time.now() - 1500,
      expiresAt: scene.time.now() - 1500 + 3_600_000,
    })
  })

  test('takes what the ACK says, not what the offer said', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER', { options: { leaseTime: 100, routers: ['192.0.2.1'] } })
    scene.answer('ACK', { options: { leaseTime: 200, routers: ['192.0.2.9'] } })
    expect(scene.client.lease).toMatchObject({
      expiresAt: scene.time.now() + 200_000,
      routers: ['192.0.2.9'],
    })
  })
})

describe('repetitions (RFC 2131 4.1)', () => {
  const times = (scene: Scene, until: number): number[] => {
    scene.client.start()
    scene.time.pass(until)
    return scene.take().map(({ at }) => at)
  }

  test('come after 4, 8, 16, 32 and then every 64 seconds', () => {
    expect(times(new Scene(), 260_000)).toEqual([0, 4000, 12_000, 28_000, 60_000, 124_000, 188_000, 252_000])
  })

  test('vary by less than a second to either side', () => {
    const early = new Scene()
    early.time.chance = () => 0
    expect(times(early, 60_000)).toEqual([0, 3000, 10_000, 25_000, 56_000])
    const late = new Scene()
    late.time.chance = () => 1
    expect(times(late, 70_000)).toEqual([0, 5000, 14_000, 31_000, 64_000])
  })

  test('of 500 ms vary by a quarter, so that none comes at once', () => {
    const pace = { firstTimeout: 500, maxTimeout: 4000 }
    expect(times(new Scene(pace), 12_000)).toEqual([0, 500, 1500, 3500, 7500, 11_500])
    const early = new Scene(pace)
    early.time.chance = () => 0
    expect(times(early, 2600)).toEqual([0, 375, 1125, 2625].slice(0, 3))
  })

  test('go on for ever, an hour of silence is some sixty of them', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(3_600_000)
    expect(scene.sent.length).toBeGreaterThan(55)
    expect(scene.sent.length).toBeLessThan(65)
    expect(scene.time.timers).toBe(1)
    expect(scene.client.heard).toBe('')
  })

  test('keep the transaction id and tell how long it has been', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(13_500)
    expect(scene.sent.map(({ message }) => message.secs)).toEqual([0, 4, 12])
    expect(new Set(scene.sent.map(({ message }) => message.xid)).size).toBe(1)
  })

  test('tell 65535 seconds at most', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(66_000_000)
    expect(scene.last.message.secs).toBe(0xffff)
  })

  test('of a request follow the same rule, then it begins anew', () => {
    const scene = new Scene()
    let id = 0
    scene.time.chance = () => 0.5 + id++ * 1e-9
    scene.client.start()
    const [{ message: discover }] = scene.sent as [(typeof scene.sent)[0]]
    scene.answer('OFFER')
    scene.time.pass(29_000)
    expect(scene.take().map(({ type, at }) => [type, Math.round(at / 10) * 10])).toEqual([
      ['DISCOVER', 0],
      ['REQUEST', 0],
      ['REQUEST', 4000],
      ['REQUEST', 12_000],
      ['DISCOVER', 28_000],
    ])
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.client.heard).toBe(`${SERVER} offered ${ADDRESS}, and then said nothing more`)
    expect(scene.time.timers).toBe(1)
    scene.time.pass(4000)
    expect(scene.last.message.xid).not.toBe(discover.xid)
  })
})

describe('an offer', () => {
  const useless: readonly [string, Answer][] = [
    ['without a server', { options: { serverId: undefined } }],
    ['of a server that none can be', { options: { serverId: '0.0.0.0' } }],
    ['of a server that is all hosts', { options: { serverId: '255.255.255.255' } }],
    ['for no time', { options: { leaseTime: 0 } }],
    ['of 0.0.0.0', { fields: { yiaddr: '0.0.0.0' } }],
    ['of a loopback address', { fields: { yiaddr: '127.0.0.1' } }],
    ['of a multicast address', { fields: { yiaddr: '224.0.0.1' } }],
    ['of all hosts', { fields: { yiaddr: '255.255.255.255' } }],
    ['with a mask that has holes', { options: { subnetMask: '255.0.255.0' } }],
    ['with a mask of nothing', { options: { subnetMask: '0.0.0.0' } }],
  ]

  it.each(useless)('%s is of no use; the next one is taken', (_, answer) => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER', answer)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.client.heard).toContain('of no use')
    expect(scene.events).toEqual([])
    scene.time.pass(4000)
    expect(scene.take()).toEqual([
      { type: 'DISCOVER', at: 0 },
      { type: 'DISCOVER', at: 4000 },
    ])
    expect(scene.time.timers).toBe(1)
  })

  const foreign: readonly [string, Answer][] = [
    ['to another transaction', { fields: { xid: 1 } }],
    ['to another interface', { fields: { chaddr: Uint8Array.of(2, 0, 0x5e, 0, 0x53, 2) } }],
    ['to a longer hardware address', { fields: { chaddr: Uint8Array.of(2, 0, 0x5e, 0, 0x53, 1, 0) } }],
    ['to another client with the same MAC', { options: { clientId: Uint8Array.of(0, 65) } }],
    ['to a client without an identifier', { raw: new Map([[61, new Uint8Array()]]) }],
    ['of a client', { fields: { op: 'BOOTREQUEST' } }],
    ['of no type', { options: { messageType: undefined } }],
  ]

  it.each(foreign)('%s is not for this client', (_, answer) => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER', answer)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.client.heard).toBe('')
    expect(scene.sent).toHaveLength(1)
  })

  test('with the client identifier sent back is for it (RFC 6842)', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER', { options: { clientId: option(scene.last, 'clientId')! } })
    expect(scene.client.state).toBe('REQUESTING')
  })

  test('of a second server is declined by asking the first', () => {
    const scene = new Scene()
    scene.client.start()
    const discover = scene.last.message
    scene.answer('OFFER')
    scene.client.receive(
      answerTo(discover, 'OFFER', { options: { serverId: OTHER_SERVER }, fields: { yiaddr: '192.0.2.99' } }),
      SERVER_MAC,
    )
    expect(scene.sent).toHaveLength(2)
    expect(option(scene.last, 'serverId')).toBe(SERVER)
  })
})

describe('an acknowledgement', () => {
  const requesting = (): Scene => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER')
    return scene
  }

  test('of another server does not belong to the request', () => {
    const scene = requesting()
    scene.answer('ACK', { options: { serverId: OTHER_SERVER } })
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.time.timers).toBe(1)
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
  })

  it.each([
    ['for no time', { options: { leaseTime: 0 } }],
    ['without an address', { fields: { yiaddr: '0.0.0.0' } }],
    ['without a server', { options: { serverId: undefined } }],
    ['to another transaction', { fields: { xid: 1 } }],
    ['to another client', { options: { clientId: Uint8Array.of(0, 65) } }],
  ] as readonly [string, Answer][])('%s leaves the request as it is', (_, answer) => {
    const scene = requesting()
    scene.answer('ACK', answer)
    expect(scene.client.state).toBe('REQUESTING')
    scene.time.pass(4000)
    expect(scene.take().at(-1)).toEqual({ type: 'REQUEST', at: 4000 })
  })

  test('of a lease that has ended on the way is of no use', () => {
    const scene = requesting()
    scene.time.pass(3000)
    scene.answer('ACK', { options: { leaseTime: 2 } })
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting'])
    expect(scene.client.heard).not.toBe('')
  })

  test('nobody has asked for is nothing', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('ACK')
    scene.answer('NAK')
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.sent).toHaveLength(1)
  })

  test('that comes twice counts once', () => {
    const scene = requesting()
    scene.answer('ACK')
    scene.answer('ACK')
    scene.answer('OFFER')
    scene.answer('NAK')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'bound'])
  })
})

describe('a refusal of a request', () => {
  test('begins anew: at once the first time, then ever later', () => {
    const scene = new Scene()
    scene.client.start()
    const began: number[] = []
    for (let i = 0; i < 9; i++) {
      scene.answer('OFFER')
      scene.answer('NAK', { options: { message: 'not here' } })
      expect(scene.client.state).toBe('INIT')
      expect(scene.client.heard).toBe(`${SERVER} refused the request (DHCPNAK): not here`)
      expect(scene.time.timers).toBe(1)
      const before = scene.now
      scene.time.pass(scene.time.next!)
      expect(scene.client.state).toBe('SELECTING')
      began.push(scene.now - before)
    }
    expect(began).toEqual([0, 4000, 8000, 16_000, 32_000, 64_000, 64_000, 64_000, 64_000])
  })

  test('waits no longer than any repetition', () => {
    const scene = new Scene({ firstTimeout: 10_000, maxTimeout: 62_000 })
    scene.client.start()
    for (let i = 0; i < 9; i++) {
      scene.answer('OFFER')
      scene.answer('NAK')
      expect(scene.time.next).toBeLessThanOrEqual(62_000)
      scene.time.pass(scene.time.next!)
    }
  })

  test('by another server, or by nobody, does not belong to it', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('NAK', { options: { serverId: OTHER_SERVER } })
    scene.answer('NAK', { options: { serverId: undefined } })
    expect(scene.client.state).toBe('REQUESTING')
  })

  test('is forgotten with the next lease', () => {
    const scene = new Scene()
    scene.client.start()
    for (let i = 0; i < 3; i++) {
      scene.answer('OFFER')
      scene.answer('NAK')
      scene.time.pass(scene.time.next!)
    }
    scene.answer('OFFER')
    scene.answer('ACK')
    scene.client.renew()
    scene.answer('NAK')
    expect(scene.time.next).toBe(0)
  })
})

describe('an address in use', () => {
  const checking = (changes = {}): Scene => {
    const scene = new Scene({ arpProbe: true, ...changes })
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('ACK')
    expect(scene.client.state).toBe('CHECKING')
    return scene
  }

  test('is asked for before it is used', async () => {
    const scene = checking()
    expect(scene.probes).toMatchObject([{ address: ADDRESS }])
    expect(scene.client.lease).toBeNull()
    expect(scene.time.timers).toBe(0)
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting'])
    scene.probes[0]!.resolve(false)
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting', 'bound'])
    expect(scene.time.timers).toBe(1)
  })

  test('is declined, and another one asked for: soon, then after ten seconds', async () => {
    const scene = checking()
    const waits: number[] = []
    for (let i = 0; i < 3; i++) {
      scene.probes[i]!.resolve(true)
      await settled()
      expect(scene.client.state).toBe('INIT')
      expect(scene.last).toMatchObject({ type: 'DECLINE', to: EVERYBODY })
      expect(option(scene.last, 'requestedAddress')).toBe(ADDRESS)
      expect(option(scene.last, 'serverId')).toBe(SERVER)
      expect(scene.events.at(-1)).toEqual({ what: 'declined', address: ADDRESS })
      expect(scene.client.heard).toContain('another host on the link uses')
      expect(scene.time.timers).toBe(1)
      waits.push(scene.time.next!)
      scene.time.pass(scene.time.next!)
      expect(scene.client.state).toBe('SELECTING')
      scene.answer('OFFER')
      scene.answer('ACK')
    }
    expect(waits).toEqual([500, 10_000, 10_000])
  })

  test('found once is chance again after an address was good', async () => {
    const scene = checking()
    scene.probes[0]!.resolve(true)
    await settled()
    scene.time.pass(500)
    scene.answer('OFFER')
    scene.answer('ACK')
    scene.probes[1]!.resolve(false)
    await settled()
    scene.client.renew()
    scene.answer('NAK')
    scene.time.pass(0)
    scene.answer('OFFER')
    scene.answer('ACK')
    scene.probes[2]!.resolve(true)
    await settled()
    expect(scene.time.next).toBe(500)
  })

  test('that could not be asked for is used', async () => {
    const scene = checking()
    scene.probes[0]!.reject(new Error('network is down'))
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.logged.join()).toContain('network is down')
  })

  test('that could not be asked for at all is used', async () => {
    const scene = new Scene({ arpProbe: true })
    scene.onProbe = () => {
      throw new Error('too many open files')
    }
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('ACK')
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.logged.join()).toContain('too many open files')
  })

  test('of a lease that is over before the link has answered is not used', async () => {
    const scene = checking()
    // The machine slept.
    scene.time.skip(3_600_000)
    scene.probes[0]!.resolve(false)
    await settled()
    scene.time.pass(0)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting'])
    expect(scene.time.timers).toBe(1)
  })

  it.each(['stop', 'release'] as const)('is not asked for any more after %s', async (how) => {
    const scene = checking()
    scene.client[how]()
    expect(scene.probes[0]!.signal.aborted).toBe(true)
    scene.probes[0]!.resolve(true)
    await settled()
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
    expect(scene.sent.filter(({ type }) => type === 'DECLINE')).toEqual([])
    expect(scene.events.map(({ what }) => what)).toEqual(['requesting'])
  })

  test('may be told of while the client is stopped', async () => {
    for (const how of ['resolve', 'reject'] as const) {
      const scene = checking()
      scene.probes[0]!.signal.addEventListener('abort', () => {})
      if (how === 'resolve') scene.probes[0]!.resolve(true)
      else scene.probes[0]!.reject(new Error('no'))
      scene.client.stop()
      await settled()
      expect(scene.client.state).toBe('STOPPED')
      expect(scene.sent).toHaveLength(2)
    }
  })

  test('hears no server while it is asked for', () => {
    const scene = checking()
    for (const type of ['OFFER', 'ACK', 'NAK'] as const) scene.answer(type)
    expect(scene.client.state).toBe('CHECKING')
    expect(scene.probes).toHaveLength(1)
  })

  test('is not asked for where the configuration says so, nor when a lease is renewed', () => {
    const scene = new Scene()
    scene.bind()
    scene.client.renew()
    scene.answer('ACK')
    expect(scene.probes).toEqual([])
  })
})
