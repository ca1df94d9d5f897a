import { describe, expect, it, test } from 'vitest'
import { ADDRESS, Scene, settled } from './scene.ts'

const SECOND = 1000

const fail = (): never => {
  throw new Error('network is down')
}

describe('send() that throws', () => {
  test('is a message that was lost', () => {
    const scene = new Scene()
    scene.onSend = fail
    scene.client.start()
    expect(scene.client.heard).toBe('DISCOVER could not be sent: network is down')
    scene.time.pass(12_000)
    expect(scene.sent).toHaveLength(3)
    expect(scene.time.timers).toBe(1)
    scene.answer('OFFER')
    expect(scene.client.state).toBe('REQUESTING')
    expect(scene.client.heard).toBe('REQUEST could not be sent: network is down')
    scene.answer('ACK')
    expect(scene.client.state).toBe('BOUND')
  })

  test('is not what was heard last when later ones are sent and stay without an answer', () => {
    const scene = new Scene()
    scene.onSend = fail
    scene.client.start()
    scene.onSend = () => {}
    scene.time.pass(4000)
    expect(scene.client.heard).toBe('')
  })

  test('does not hide what a server said', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('NAK', { options: { message: 'full' } })
    scene.onSend = fail
    scene.time.pass(0)
    expect(scene.client.heard).toContain('could not be sent')
    scene.onSend = () => {}
    scene.time.pass(4000)
    expect(scene.client.heard).toContain('full')
  })

  test('lets a lease run to its end, and no further', () => {
    const scene = new Scene()
    scene.bind({ leaseTime: 120 })
    scene.onSend = fail
    scene.time.pass(120 * SECOND)
    expect(scene.events.at(-1)).toMatchObject({ what: 'lost', why: 'expired' })
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  test('of something that is no Error', () => {
    const scene = new Scene()
    scene.onSend = () => {
      throw null
    }
    scene.client.start()
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  it.each(['DISCOVER', 'REQUEST', 'DECLINE'] as const)('and stops the client: %s', async (type) => {
    const scene = new Scene({ arpProbe: true })
    scene.onSend = (sent) => {
      if (sent.type !== type) return
      scene.client.stop()
      fail()
    }
    scene.client.start()
    if (type !== 'DISCOVER') scene.answer('OFFER')
    if (type === 'DECLINE') {
      scene.answer('ACK')
      scene.probes[0]!.resolve(true)
      await settled()
    }
    expect(scene.last.type).toBe(type)
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
  })

  it.each([1800, 3200])('and stops the client at the renewal, %d s', (seconds) => {
    const scene = new Scene()
    scene.bind()
    scene.onSend = () => scene.client.stop()
    scene.time.pass(seconds * SECOND)
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
  })
})

describe('an answer that comes before send() returns', () => {
  test('is an answer', () => {
    const scene = new Scene()
    scene.onSend = ({ message }) => {
      if (scene.sent.length === 1) scene.answer('OFFER')
      else if (message.ciaddr === '0.0.0.0' || scene.sent.length === 3) scene.answer('ACK')
    }
    scene.client.start()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.time.timers).toBe(1)
    scene.time.pass(1800 * SECOND)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.sent).toHaveLength(3)
    expect(scene.time.timers).toBe(1)
    scene.time.pass(600 * SECOND)
    expect(scene.sent).toHaveLength(3)
  })
})

describe('a listener that throws', () => {
  /** A journal that can not be written. */
  const full = (what: string) => (event: { readonly what: string }) => {
    if (event.what === what) throw new Error('no space left on device')
  }

  test('in requesting(): what can not be noted is not accepted', () => {
    const scene = new Scene()
    scene.onEvent = full('requesting')
    scene.client.start()
    scene.answer('OFFER')
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.client.heard).toContain('no space left on device')
    expect(scene.sent).toHaveLength(1)
    expect(scene.time.timers).toBe(1)
    scene.client.release()
    expect(scene.sent).toHaveLength(1)
  })

  test('in requesting(): the next offer may be', () => {
    const scene = new Scene()
    scene.onEvent = full('requesting')
    scene.client.start()
    scene.answer('OFFER')
    scene.onEvent = () => {}
    scene.time.pass(4000)
    scene.answer('OFFER')
    expect(scene.client.state).toBe('REQUESTING')
  })

  test('in bound(): the lease is kept all the same', async () => {
    for (const arpProbe of [false, true]) {
      const scene = new Scene({ arpProbe })
      scene.onEvent = full('bound')
      scene.client.start()
      scene.answer('OFFER')
      scene.answer('ACK')
      scene.probes[0]?.resolve(false)
      await settled()
      expect(scene.client.state).toBe('BOUND')
      expect(scene.client.heard).toContain('no space left on device')
      expect(scene.logged.join()).toContain('no space left on device')
      expect(scene.time.timers).toBe(1)
      scene.time.pass(1800 * SECOND)
      expect(scene.client.state).toBe('RENEWING')
    }
  })

  test('in lost(): another one is looked for', () => {
    const scene = new Scene()
    scene.bind()
    scene.onEvent = full('lost')
    scene.time.pass(3600 * SECOND)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })

  test('in declined(): another one is looked for', async () => {
    const scene = new Scene({ arpProbe: true })
    scene.onEvent = full('declined')
    scene.client.start()
    scene.answer('OFFER')
    scene.answer('ACK')
    scene.probes[0]!.resolve(true)
    await settled()
    expect(scene.last.type).toBe('DECLINE')
    scene.time.pass(500)
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.time.timers).toBe(1)
  })
})

describe('a listener that ends the client', () => {
  it.each(['requesting', 'bound', 'lost', 'declined'] as const)('inside %s()', async (what) => {
    for (const how of ['stop', 'release'] as const) {
      const scene = new Scene({ arpProbe: what === 'declined' })
      scene.onEvent = (event) => {
        if (event.what === what) scene.client[how]()
      }
      scene.client.start()
      scene.answer('OFFER')
      scene.answer('ACK')
      scene.probes[0]?.resolve(true)
      await settled()
      scene.time.pass(3600 * SECOND)
      expect(scene.events.at(-1)!.what).toBe(what)
      expect(scene.client.state).toBe('STOPPED')
      expect(scene.time.timers).toBe(0)
      const released = scene.sent.filter(({ type }) => type === 'RELEASE')
      expect(released).toHaveLength(how === 'release' && what === 'bound' ? 1 : 0)
      if (released[0]) expect(released[0].message.ciaddr).toBe(ADDRESS)
    }
  })
})
