import { describe, expect, test } from 'vitest'
import { Scene, settled } from './scene.ts'

const SECOND = 1000

describe('a client says that it is idle, so that its sockets can be closed', () => {
  test('when it has a lease, after that was told, and not before', async () => {
    const scene = new Scene({ arpProbe: true })
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('ACK')
    expect(scene.idle).toEqual([])
    let told = -1
    scene.onEvent = ({ what }) => {
      if (what === 'bound') told = scene.idle.length
    }
    scene.probes[0]!.resolve(false)
    await settled()
    expect(told).toBe(0)
    expect(scene.idle).toEqual([{ at: 0, state: 'BOUND' }])
  })

  test('once each time that a lease is extended', () => {
    const scene = new Scene()
    scene.bind()
    for (let i = 0; i < 3; i++) {
      scene.client.renew()
      scene.answer('ACK')
    }
    expect(scene.idle.map(({ state }) => state)).toEqual(['BOUND', 'BOUND', 'BOUND', 'BOUND'])
  })

  test('when it takes over a lease, and when nobody contradicts one', () => {
    const lease = new Scene().bind()
    const scene = new Scene()
    scene.client.resume(lease)
    expect(scene.idle).toEqual([{ at: 0, state: 'BOUND' }])
    const asking = new Scene()
    asking.client.resume(lease, true)
    expect(asking.idle).toEqual([])
    asking.time.pass(28 * SECOND)
    expect(asking.idle).toEqual([{ at: 28 * SECOND, state: 'BOUND' }])
  })

  test('not while it looks, asks or waits to begin anew', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('NAK')
    scene.time.pass(3600 * SECOND)
    expect(scene.idle).toEqual([])
  })

  test('not when it was ended by who was told of the lease', () => {
    const scene = new Scene()
    scene.onEvent = ({ what }) => {
      if (what === 'bound') scene.client.stop()
    }
    scene.bind()
    expect(scene.idle).toEqual([])
  })

  test('and may be stopped then, or be told of an error', () => {
    const stopped = new Scene()
    stopped.onIdle = () => stopped.client.stop()
    stopped.bind()
    expect(stopped.client.state).toBe('STOPPED')
    expect(stopped.time.timers).toBe(0)
    const broken = new Scene()
    broken.onIdle = () => {
      throw new Error('close: bad file descriptor')
    }
    broken.bind()
    expect(broken.client.state).toBe('BOUND')
    expect(broken.time.timers).toBe(1)
  })
})
