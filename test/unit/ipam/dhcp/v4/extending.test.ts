import { describe, expect, it, test } from 'vitest'
import { ADDRESS, type Answer, OTHER_SERVER, Scene, SERVER } from './scene.ts'

const SECOND = 1000
const DAY = 86_400

/** What a lease of a server that has died makes the client send, from BOUND to the end. */
const untilTheEnd = (leaseTime: number) => {
  const scene = new Scene()
  const lease = scene.bind({ leaseTime })
  scene.take()
  const states: string[] = []
  scene.onSend = () => states.push(scene.client.state)
  scene.time.pass(leaseTime * SECOND)
  const sent = scene.take().map(({ at }, i) => ({ at, state: states[i]! }))
  const began = lease.obtainedAt - (scene.time.now() - scene.now)
  return {
    scene,
    lease,
    renewals: sent.filter(({ state }) => state === 'RENEWING').map(({ at }) => at - began),
    rebindings: sent.filter(({ state }) => state === 'REBINDING').map(({ at }) => at - began),
  }
}

const gaps = (times: readonly number[]): number[] => times.slice(1).map((at, i) => at - times[i]!)

describe('a lease that is extended', () => {
  test('is asked for at T1, without a probe and without a pause in its use', () => {
    const scene = new Scene()
    const first = scene.bind()
    scene.take()
    scene.time.pass(first.renewAt! - scene.time.now())
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.client.lease).toBe(first)
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.events.at(-1)).toMatchObject({ what: 'bound', previous: first })
    expect(scene.client.lease!.obtainedAt).toBe(scene.time.now())
    expect(scene.time.next).toBe(scene.client.lease!.renewAt! - scene.time.now())
    expect(scene.time.timers).toBe(1)
  })

  test('lives as long as its server does', () => {
    const scene = new Scene()
    scene.bind({ leaseTime: 120 })
    for (let i = 0; i < 100; i++) {
      scene.time.pass(scene.time.next!)
      expect(scene.client.state).toBe('RENEWING')
      scene.answer('ACK', { options: { leaseTime: 120 } })
    }
    expect(scene.events.filter(({ what }) => what === 'lost')).toEqual([])
    expect(scene.sent).toHaveLength(102)
  })

  test('is asked for with a new transaction each time', () => {
    const scene = new Scene()
    let id = 0
    scene.time.chance = () => 0.1 + id++ / 1e6
    scene.bind()
    scene.client.renew()
    scene.answer('ACK')
    scene.client.renew()
    scene.time.pass(3_500_000)
    expect(scene.client.state).toBe('REBINDING')
    const xids = scene.sent.map(({ message }) => message.xid)
    expect(new Set(xids).size).toBe(4)
  })

  test('begins when it was asked for the last time', () => {
    const scene = new Scene()
    scene.bind({ leaseTime: 3600, renewalTime: 1000, rebindingTime: 3000 })
    scene.time.pass(2600 * SECOND)
    const { at } = scene.last
    scene.time.pass(100)
    scene.answer('ACK')
    expect(scene.client.lease!.obtainedAt).toBe(scene.time.now() - (scene.now - at))
  })

  it.each<[string, Answer]>([
    ['address', { fields: { yiaddr: '192.0.2.77' } }],
    ['mask', { options: { subnetMask: '255.255.0.0' } }],
    ['router', { options: { routers: ['192.0.2.254'] } }],
    ['server', { options: { serverId: OTHER_SERVER } }],
    ['MTU', { options: { interfaceMtu: 1400 } }],
  ])('with another %s says so, with what it was before', (_, answer) => {
    const scene = new Scene()
    const first = scene.bind({ routers: [SERVER] })
    scene.client.renew()
    scene.answer('ACK', answer)
    const { lease } = scene.client
    expect(scene.events.at(-1)).toEqual({ what: 'bound', lease, previous: first })
    expect({ ...lease, renewAt: 0 }).not.toEqual({ ...first, renewAt: 0 })
    scene.client.renew()
    expect(scene.last).toMatchObject({
      message: { ciaddr: lease!.address },
      to: { from: lease!.address, to: lease!.server },
    })
  })

  test('by another server is renewed there (REBINDING)', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(3_200 * SECOND)
    expect(scene.client.state).toBe('REBINDING')
    scene.answer('ACK', { options: { serverId: OTHER_SERVER } })
    expect(scene.client.state).toBe('BOUND')
    scene.client.renew()
    expect(scene.last.to).toMatchObject({ to: OTHER_SERVER })
  })

  it.each(['stop', 'release'] as const)('inside bound() may %s the client', (how) => {
    for (const renewed of [false, true]) {
      const scene = new Scene()
      scene.onEvent = ({ what }) => {
        if (what === 'bound' && (!renewed || scene.events.length > 2)) scene.client[how]()
      }
      scene.client.start()
      scene.answer('OFFER')
      scene.answer('ACK')
      if (renewed) {
        scene.client.renew()
        scene.answer('ACK')
      }
      expect(scene.client.state).toBe('STOPPED')
      expect(scene.time.timers).toBe(0)
    }
  })
})

describe('the moments of a lease', () => {
  const moments = (options: object) => {
    const scene = new Scene()
    // No renewal earlier than T1 says.
    scene.time.chance = () => 0
    const { renewAt, rebindAt, expiresAt, obtainedAt } = scene.bind(options)
    return [renewAt, rebindAt, expiresAt].map((at) => at && (at - obtainedAt) / SECOND)
  }

  it.each<[string, object, readonly (number | null)[]]>([
    ['1/2 and 7/8 where none is given', { leaseTime: 3600 }, [1800, 3150, 3600]],
    ['as given', { leaseTime: 3600, renewalTime: 100, rebindingTime: 200 }, [100, 200, 3600]],
    ['T1 alone', { leaseTime: 3600, renewalTime: 100 }, [100, 3150, 3600]],
    ['T2 alone', { leaseTime: 3600, rebindingTime: 3000 }, [1800, 3000, 3600]],
    ['T1 after T2', { leaseTime: 3600, renewalTime: 300, rebindingTime: 200 }, [1800, 3150, 3600]],
    ['T2 after the end', { leaseTime: 3600, renewalTime: 300, rebindingTime: 4000 }, [1800, 3150, 3600]],
    ['T1 of nothing', { leaseTime: 3600, renewalTime: 0, rebindingTime: 200 }, [1800, 3150, 3600]],
    ['an infinite T2', { leaseTime: 3600, renewalTime: 9, rebindingTime: 0xffff_ffff }, [1800, 3150, 3600]],
    ['no time: an hour', { leaseTime: undefined }, [1800, 3150, 3600]],
    ['for ever', { leaseTime: 0xffff_ffff }, [null, null, null]],
    ['for ever, with T1', { leaseTime: 0xffff_ffff, renewalTime: 9, rebindingTime: 10 }, [null, null, null]],
    ['nearly for ever', { leaseTime: 0xffff_fffe }, [0xffff_fffe / 2, (0xffff_fffe * 7) / 8, 0xffff_fffe]],
    ['10 s', { leaseTime: 10 }, [5, 8.75, 10]],
    ['1 s', { leaseTime: 1 }, [0.5, 0.875, 1]],
  ])('%s', (_, options, expected) => {
    expect(moments(options)).toEqual(expected)
  })

  test('T1 comes up to a twentieth earlier, so that nodes do not renew together', () => {
    const scene = new Scene()
    scene.time.chance = () => 0.999_999
    const { renewAt, obtainedAt } = scene.bind()
    expect(renewAt! - obtainedAt).toBeGreaterThanOrEqual(1_800_000 * 0.95)
    expect(renewAt! - obtainedAt).toBeLessThan(1_800_000 * 0.951)
  })

  test('an infinite lease needs no timer, and goes on for ever', () => {
    const scene = new Scene()
    scene.bind({ leaseTime: 0xffff_ffff })
    expect(scene.time.timers).toBe(0)
    scene.time.pass(4_000_000_000)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.sent).toHaveLength(2)
  })

  test('an infinite lease that is renewed all the same keeps asking without haste', () => {
    const scene = new Scene()
    scene.bind({ leaseTime: 0xffff_ffff })
    scene.client.renew()
    scene.time.pass(3600 * SECOND)
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.sent.length).toBeLessThanOrEqual(2 + 61)
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
  })
})

describe('a server that has died', () => {
  test('is asked every half of the time until T2, then all, until the end: a day', () => {
    const { renewals, rebindings, lease, scene } = untilTheEnd(DAY)
    const t1 = (lease.renewAt! - lease.obtainedAt) / SECOND
    const t2 = (DAY * 7) / 8
    // Halves, but no less than a minute.
    expect(renewals.map((at) => at / SECOND).slice(0, 4)).toEqual([
      t1,
      t1 + (t2 - t1) / 2,
      t1 + ((t2 - t1) * 3) / 4,
      t1 + ((t2 - t1) * 7) / 8,
    ])
    expect(rebindings[0]! / SECOND).toBe(t2)
    for (const gap of [...gaps(renewals), ...gaps(rebindings)]) expect(gap).toBeGreaterThanOrEqual(60_000)
    expect(renewals.length + rebindings.length).toBeLessThan(30)
    expect(scene.events.at(-1)).toMatchObject({ what: 'lost', why: 'expired', lease: { address: ADDRESS } })
  })

  it.each([1, 10, 120, 3600, DAY, 7 * DAY, 0xffff_fffe])('is not flooded: a lease of %d s', (leaseTime) => {
    const { renewals, rebindings, scene, lease } = untilTheEnd(leaseTime)
    expect(renewals.length).toBeGreaterThanOrEqual(2)
    expect(rebindings.length).toBeGreaterThanOrEqual(2)
    expect(renewals.length + rebindings.length).toBeLessThan(60)
    const least = Math.min(60_000, (leaseTime * SECOND) / 16)
    for (const gap of [...gaps(renewals), ...gaps(rebindings)]) expect(gap).toBeGreaterThanOrEqual(least - 1)
    for (const at of renewals) expect(at).toBeLessThan(lease.rebindAt! - lease.obtainedAt)
    for (const at of rebindings) expect(at).toBeLessThan(leaseTime * SECOND)
    expect(scene.client.lease).toBeNull()
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  test('is looked for again and again after the end', () => {
    const { scene } = untilTheEnd(120)
    expect(scene.client.state).toBe('SELECTING')
    const before = scene.sent.length
    scene.time.pass(3600 * SECOND)
    const discovers = scene.take().slice(before)
    expect(discovers.every(({ type }) => type === 'DISCOVER')).toBe(true)
    expect(Math.max(...gaps(discovers.map(({ at }) => at)))).toBeLessThanOrEqual(65_000)
    scene.client.stop()
  })

  test('gives another lease when it is back', () => {
    const { scene } = untilTheEnd(120)
    scene.time.pass(300 * SECOND)
    scene.answer('OFFER', { fields: { yiaddr: '192.0.2.11' } })
    scene.answer('ACK', { fields: { yiaddr: '192.0.2.11' } })
    expect(scene.events.at(-1)).toMatchObject({
      what: 'bound',
      lease: { address: '192.0.2.11' },
      previous: null,
    })
  })

  test('after the end has the seconds of a new search', () => {
    const { scene } = untilTheEnd(120)
    scene.time.pass(4000)
    expect(scene.last.message.secs).toBe(4)
  })

  test('inside lost() may stop the client', () => {
    const scene = new Scene()
    scene.onEvent = ({ what }) => {
      if (what === 'lost') scene.client.stop()
    }
    scene.bind({ leaseTime: 120 })
    scene.time.pass(3600 * SECOND)
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
    expect(scene.sent.filter(({ type }) => type === 'DISCOVER')).toHaveLength(1)
  })
})

describe('a refusal', () => {
  it.each([
    ['RENEWING', 1_800 * SECOND],
    ['REBINDING', 3_200 * SECOND],
  ] as const)('in %s ends the lease, and another is looked for at once', (state, at) => {
    const scene = new Scene()
    const lease = scene.bind()
    scene.time.pass(at)
    expect(scene.client.state).toBe(state)
    scene.answer('NAK', { options: { message: 'moved' } })
    expect(scene.events.at(-1)).toEqual({ what: 'lost', lease, why: 'refused' })
    expect(scene.client.state).toBe('INIT')
    expect(scene.client.lease).toBeNull()
    expect(scene.client.heard).toContain('moved')
    scene.time.pass(0)
    expect(scene.last).toMatchObject({ type: 'DISCOVER', at: scene.now, message: { secs: 0 } })
    expect(scene.time.timers).toBe(1)
  })

  test('to another client changes nothing', () => {
    const scene = new Scene()
    const lease = scene.bind()
    scene.client.renew()
    scene.answer('NAK', { fields: { xid: 1 } })
    scene.answer('NAK', { options: { clientId: Uint8Array.of(0, 65) } })
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.client.lease).toBe(lease)
  })

  test('in BOUND changes nothing', () => {
    const scene = new Scene()
    scene.bind()
    scene.answer('NAK')
    expect(scene.client.state).toBe('BOUND')
  })
})

describe('a machine that slept', () => {
  it.each([
    ['before T1', 1000, 'BOUND', []],
    ['past T1', 1900, 'RENEWING', ['REQUEST']],
    ['past T2', 3300, 'REBINDING', ['REQUEST']],
    ['past the end', 4000, 'SELECTING', ['DISCOVER']],
  ] as const)('%s', (_, seconds, state, sent) => {
    const scene = new Scene()
    scene.bind()
    scene.take()
    scene.time.sleep(seconds * SECOND)
    expect(scene.client.state).toBe(state)
    expect(scene.take().map(({ type }) => type)).toEqual(sent)
    expect(scene.client.lease === null).toBe(state === 'SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  test('while it renewed', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(1800 * SECOND)
    scene.take()
    scene.time.sleep(1500 * SECOND)
    expect(scene.client.state).toBe('REBINDING')
    expect(scene.take()).toHaveLength(1)
    scene.time.sleep(1500 * SECOND)
    expect(scene.events.at(-1)).toMatchObject({ what: 'lost', why: 'expired' })
  })

  test('does not take an answer from before it slept for a lease that goes on', () => {
    const scene = new Scene()
    const lease = scene.bind({ leaseTime: 100 })
    scene.time.pass(50 * SECOND)
    expect(scene.client.state).toBe('RENEWING')
    // The socket is read before the timer fires.
    scene.time.skip(200 * SECOND)
    scene.answer('ACK', { options: { leaseTime: 100 } })
    scene.time.pass(0)
    expect(scene.events.slice(2)).toEqual([{ what: 'lost', lease, why: 'expired' }])
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })
})
