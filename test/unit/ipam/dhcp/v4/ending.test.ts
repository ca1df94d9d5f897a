import { describe, expect, it, test } from 'vitest'
import type { State } from '../../../../../ipam/dhcp/v4/states.ts'
import { ADDRESS, option, Scene, SERVER, SERVER_MAC, settled } from './scene.ts'

const SECOND = 1000

/** How a client gets into each state, and whether there is something to give back then. */
const ways: readonly [State, boolean, (scene: Scene) => void][] = [
  ['INIT', false, () => {}],
  ['SELECTING', false, ({ client }) => client.start()],
  [
    'REQUESTING',
    true,
    (scene) => {
      scene.client.start()
      scene.answer('OFFER')
    },
  ],
  [
    'CHECKING',
    true,
    (scene) => {
      scene.client.start()
      scene.answer('OFFER')
      scene.answer('ACK')
    },
  ],
  ['BOUND', true, ({ client }) => client.resume(new Scene().bind())],
  [
    'RENEWING',
    true,
    ({ client, time }) => {
      client.resume(new Scene().bind())
      time.pass(1800 * SECOND)
    },
  ],
  [
    'REBINDING',
    true,
    ({ client, time }) => {
      client.resume(new Scene().bind())
      time.pass(3200 * SECOND)
    },
  ],
  ['REBOOTING', true, ({ client }) => client.resume(new Scene().bind(), true)],
]

/** INIT once more: it waits for its next turn. */
const refused = (scene: Scene): void => {
  scene.client.start()
  scene.answer('OFFER')
  scene.answer('NAK')
}

const inState = (state: State, way: (scene: Scene) => void): Scene => {
  const scene = new Scene({ arpProbe: true })
  way(scene)
  expect(scene.client.state).toBe(state)
  return scene
}

/** Everything that could still happen, and nothing does. */
const expectSilence = async (scene: Scene, sent: number, events: number): Promise<void> => {
  expect(scene.client.state).toBe('STOPPED')
  expect(scene.time.timers).toBe(0)
  scene.time.pass(100_000 * SECOND)
  if (scene.sent.length > 0) for (const type of ['OFFER', 'ACK', 'NAK'] as const) scene.answer(type)
  for (const probe of scene.probes) probe.resolve(false)
  scene.client.renew()
  await settled()
  expect(scene.client.state).toBe('STOPPED')
  expect(scene.sent).toHaveLength(sent)
  expect(scene.events).toHaveLength(events)
}

describe('stop()', () => {
  it.each(ways)('in %s is the end, and says nothing', async (state, _, way) => {
    const scene = inState(state, way)
    const [sent, events] = [scene.sent.length, scene.events.length]
    const { lease } = scene.client
    scene.client.stop()
    scene.client.stop()
    await expectSilence(scene, sent, events)
    expect(scene.client.lease).toBe(lease)
  })

  test('while it waits for its next turn', async () => {
    const scene = inState('INIT', refused)
    scene.client.stop()
    await expectSilence(scene, 2, 1)
  })
})

describe('release()', () => {
  it.each(ways)('in %s gives back what there is, once', async (state, something, way) => {
    const scene = inState(state, way)
    const [sent, events] = [scene.sent.length, scene.events.length]
    scene.client.release()
    scene.client.release()
    const expected = something ? sent + 1 : sent
    expect(scene.client.lease).toBeNull()
    if (something) {
      expect(scene.last).toMatchObject({
        type: 'RELEASE',
        message: { ciaddr: ADDRESS },
        to: { from: ADDRESS, to: SERVER, mac: SERVER_MAC },
      })
      expect(option(scene.last, 'serverId')).toBe(SERVER)
    }
    await expectSilence(scene, expected, events)
  })

  test('after a refusal has nothing to give back', async () => {
    const scene = inState('INIT', refused)
    scene.client.release()
    await expectSilence(scene, 2, 1)
  })

  test('gives back what was asked for and never answered: the server may have granted it', async () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('OFFER')
    scene.time.pass(28 * SECOND)
    expect(scene.client.state).toBe('SELECTING')
    const sent = scene.sent.length
    scene.client.release()
    scene.client.release()
    expect(scene.last).toMatchObject({ type: 'RELEASE', message: { ciaddr: ADDRESS } })
    await expectSilence(scene, sent + 1, 1)
  })

  test('after the lease has ended has nothing to give back', async () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(3600 * SECOND)
    const sent = scene.sent.length
    scene.client.release()
    await expectSilence(scene, sent, 3)
  })

  test('after stop() gives back all the same: a DEL may come while a keeper stops', async () => {
    const scene = new Scene()
    scene.bind()
    scene.client.stop()
    scene.client.release()
    scene.client.release()
    expect(scene.sent.map(({ type }) => type)).toEqual(['DISCOVER', 'REQUEST', 'RELEASE'])
    await expectSilence(scene, 3, 2)
  })

  test('where the MAC of the server is not known leaves it to the kernel', () => {
    const scene = new Scene()
    scene.client.resume({ ...new Scene().bind(), serverMac: '' })
    scene.client.release()
    expect(scene.last.to).toEqual({ from: ADDRESS, to: SERVER, mac: '' })
  })

  test('that can not be sent is no error', () => {
    const scene = new Scene()
    scene.bind()
    scene.onSend = () => {
      throw new Error('network is down')
    }
    scene.client.release()
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.logged.join()).toContain('RELEASE could not be sent: network is down')
  })
})

describe('a client that has ended', () => {
  test('does not begin again', () => {
    const scene = new Scene()
    scene.client.stop()
    expect(() => scene.client.start()).toThrow('does not go from STOPPED to SELECTING')
    expect(() => scene.client.resume(new Scene().bind())).toThrow('does not go from STOPPED to BOUND')
    expect(scene.time.timers).toBe(0)
    expect(scene.sent).toEqual([])
    expect(scene.client.lease).toBeNull()
  })

  test('nor does one that has begun', () => {
    const scene = new Scene()
    scene.bind()
    const { lease } = scene.client
    expect(() => scene.client.start()).toThrow('does not go from BOUND to SELECTING')
    expect(() => scene.client.resume(new Scene().bind())).toThrow('does not go from BOUND to BOUND')
    expect(() => scene.client.resume(new Scene().bind(), true)).toThrow('from BOUND to INIT-REBOOT')
    expect(scene.client.lease).toBe(lease)
    expect(scene.time.timers).toBe(1)
  })
})
