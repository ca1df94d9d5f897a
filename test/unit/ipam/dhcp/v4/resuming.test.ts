import { describe, expect, it, test } from 'vitest'
import type { Lease4 } from '../../../../../ipam/dhcp/v4/lease.ts'
import { START } from './fake-time.ts'
import { ADDRESS, OTHER_SERVER, Scene, SERVER } from './scene.ts'

const SECOND = 1000

/** A lease of an hour that was obtained some seconds before the clock begins. */
const leaseOf = (age: number, changes: Partial<Lease4> = {}): Lease4 => {
  const obtainedAt = START - age * SECOND
  return {
    ...new Scene().bind(),
    obtainedAt,
    renewAt: obtainedAt + 1800 * SECOND,
    rebindAt: obtainedAt + 3150 * SECOND,
    expiresAt: obtainedAt + 3600 * SECOND,
    ...changes,
  }
}

const forEver = { renewAt: null, rebindAt: null, expiresAt: null }

describe('a lease taken over as it is', () => {
  test('runs on to T1', () => {
    const scene = new Scene()
    const lease = leaseOf(600)
    scene.client.resume(lease)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.lease).toBe(lease)
    expect(scene.sent).toEqual([])
    expect(scene.events).toEqual([])
    expect(scene.time.next).toBe(1200 * SECOND)
    scene.time.pass(1200 * SECOND)
    expect(scene.last).toMatchObject({ message: { ciaddr: ADDRESS, secs: 0 }, to: { to: SERVER } })
    scene.answer('ACK')
    expect(scene.events).toMatchObject([{ what: 'bound', previous: lease }])
  })

  it.each([
    ['T1', 2000, 'RENEWING', 'REQUEST'],
    ['T2', 3200, 'REBINDING', 'REQUEST'],
    ['its end', 4000, 'SELECTING', 'DISCOVER'],
  ] as const)('after %s goes on at once', (_, age, state, type) => {
    const scene = new Scene()
    const lease = leaseOf(age)
    scene.client.resume(lease)
    scene.time.pass(0)
    expect(scene.client.state).toBe(state)
    expect(scene.take()).toEqual([{ type, at: 0 }])
    expect(scene.time.timers).toBe(1)
    expect(scene.events).toEqual(type === 'DISCOVER' ? [{ what: 'lost', lease, why: 'expired' }] : [])
  })

  test('that never ends needs nothing', () => {
    const scene = new Scene()
    scene.client.resume(leaseOf(600, forEver))
    expect(scene.time.timers).toBe(0)
    scene.time.pass(100_000 * SECOND)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.sent).toEqual([])
  })

  test('with an end and no T2 ends in time', () => {
    const scene = new Scene()
    scene.client.resume(leaseOf(1000, { rebindAt: null }))
    scene.time.pass(2600 * SECOND - 1)
    expect(scene.client.lease).not.toBeNull()
    scene.time.pass(1)
    expect(scene.client.lease).toBeNull()
    expect(scene.sent.length).toBeLessThan(20)
  })

  test('with times that make no sense is not asked for in a loop', () => {
    const scene = new Scene()
    const at = START + 10 * SECOND
    scene.client.resume(leaseOf(0, { obtainedAt: at + 5000, renewAt: START, rebindAt: at, expiresAt: at }))
    scene.time.pass(20 * SECOND)
    expect(scene.sent.length).toBeLessThan(40)
    expect(scene.client.lease).toBeNull()
  })

  test('can be given back at once', () => {
    const scene = new Scene()
    scene.client.resume(leaseOf(4000))
    scene.client.release()
    scene.time.pass(100_000)
    expect(scene.sent).toMatchObject([{ type: 'RELEASE', message: { ciaddr: ADDRESS } }])
  })
})

describe('a lease that a server is asked about first (INIT-REBOOT)', () => {
  const rebooting = (lease: Lease4): Scene => {
    const scene = new Scene()
    scene.client.resume(lease, true)
    expect(scene.client.state).toBe('REBOOTING')
    expect(scene.sent).toMatchObject([{ type: 'REQUEST', to: null }])
    expect(scene.time.timers).toBe(1)
    return scene
  }

  it.each([
    ['goes on', 600],
    ['that has lapsed', 4000],
  ])('and %s: the server says yes', (_, age) => {
    const lease = leaseOf(age)
    const scene = rebooting(lease)
    scene.time.pass(100)
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.events).toMatchObject([
      { what: 'bound', previous: lease, lease: { obtainedAt: START, expiresAt: START + 3600 * SECOND } },
    ])
    expect(scene.time.timers).toBe(1)
  })

  test('is whoever answers (RFC 2131 3.2: all servers may)', () => {
    const scene = rebooting(leaseOf(600))
    scene.answer('ACK', { options: { serverId: OTHER_SERVER } })
    expect(scene.client.lease).toMatchObject({ server: OTHER_SERVER })
  })

  it.each([600, 4000])('%d seconds old: the server says no', (age) => {
    const lease = leaseOf(age)
    const scene = rebooting(lease)
    scene.answer('NAK', { options: { message: 'wrong network' } })
    expect(scene.events).toEqual([{ what: 'lost', lease, why: 'refused' }])
    expect(scene.client.lease).toBeNull()
    scene.time.pass(0)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.last).toMatchObject({ type: 'DISCOVER', at: 0 })
  })

  test('is good for the rest of its time where nobody answers (4.4.2)', () => {
    const lease = leaseOf(600)
    const scene = rebooting(lease)
    scene.time.pass(28_000)
    expect(scene.take().map(({ at }) => at)).toEqual([0, 4000, 12_000])
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.lease).toBe(lease)
    expect(scene.events).toEqual([])
    expect(scene.time.next).toBe(1200 * SECOND - 28_000)
  })

  test('is over where it has lapsed and nobody answers', () => {
    const lease = leaseOf(4000)
    const scene = rebooting(lease)
    scene.time.pass(28_000)
    expect(scene.events).toEqual([{ what: 'lost', lease, why: 'expired' }])
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  test('is over when its time has come, though the server is being asked still', () => {
    const lease = leaseOf(3595)
    const scene = rebooting(lease)
    scene.time.pass(5000)
    expect(scene.events).toEqual([{ what: 'lost', lease, why: 'expired' }])
    expect(scene.client.lease).toBeNull()
  })

  test('that never ends is good', () => {
    const scene = rebooting(leaseOf(600, forEver))
    scene.time.pass(28_000)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.time.timers).toBe(0)
  })

  test('hears no offer', () => {
    const scene = rebooting(leaseOf(600))
    scene.answer('OFFER')
    expect(scene.client.state).toBe('REBOOTING')
    expect(scene.sent).toHaveLength(1)
  })
})
