import { describe, expect, test } from 'vitest'
import { hex } from '../wire.ts'
import {
  ADDRESS,
  type Answer,
  IAID,
  lease,
  OTHER_SERVER,
  refusal,
  refusalOfAll,
  Scene,
  SERVER,
  settled,
} from './scene.ts'

describe('a lease that is taken up again', () => {
  test.each([
    [0, 'BOUND', []],
    [1_000_000, 'RENEWING', ['RENEW']],
    [2_000_000, 'REBINDING', ['REBIND']],
    [4_000_000, 'SOLICITING', ['SOLICIT']],
  ] as const)('%i ms after it was obtained: %s', (age, state, sent) => {
    const scene = new Scene()
    scene.time.pass(age)
    scene.client.resume(lease)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.lease).toBe(lease)
    scene.time.pass(0)
    expect(scene.client.state).toBe(state)
    expect(scene.take().map(([type]) => type)).toEqual(sent)
    expect(scene.events).toEqual(state === 'SOLICITING' ? [{ what: 'lost', lease, why: 'expired' }] : [])
  })

  test('can be given back at once', () => {
    const scene = new Scene()
    scene.time.pass(10_000_000)
    scene.client.resume(lease)
    scene.client.release()
    expect(scene.take().map(([type]) => type)).toEqual(['RELEASE'])
    expect(scene.events).toEqual([])
  })
})

describe('CONFIRM (section 18.2.3)', () => {
  const confirming = (chance = 0.5): Scene => {
    const scene = new Scene()
    scene.time.chance = () => chance
    scene.client.resume(lease, true)
    return scene
  }

  test('is delayed by up to a second, and asks any server', () => {
    for (const chance of [0, 0.25, 0.999]) {
      const scene = confirming(chance)
      scene.time.pass(1000 * chance)
      expect(scene.sent.map(({ at }) => at)).toEqual([1000 * chance])
      const { type, options } = scene.last
      expect(type).toBe('CONFIRM')
      expect(options.serverId).toBeUndefined()
      expect(options.optionRequest).toBeUndefined()
      const iaAddress = [{ address: ADDRESS, preferredLifetime: 0, validLifetime: 0 }]
      expect(options.iaNa).toEqual([{ iaid: IAID, t1: 0, t2: 0, iaAddress }])
    }
  })

  test.each<[string, Answer]>([
    ['Success', refusalOfAll('Success')],
    ['no status, which is Success', { options: { iaNa: [] } }],
  ])('%s leads back to BOUND, with the lease as it was', (_, answer) => {
    const scene = confirming()
    scene.time.pass(500)
    scene.answer('REPLY', { ...answer, server: OTHER_SERVER })
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.lease).toBe(lease)
    expect(scene.events).toEqual([])
    scene.time.pass(999_500)
    expect(scene.client.state).toBe('RENEWING')
  })

  test('silence of ten seconds is no contradiction', () => {
    const scene = confirming()
    scene.time.pass(500 + 9999)
    expect(scene.client.state).toBe('CONFIRMING')
    scene.time.pass(1)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.take()).toEqual([
      ['CONFIRM', 500],
      ['CONFIRM', 1500],
      ['CONFIRM', 3500],
      ['CONFIRM', 7500],
    ])
  })

  test.each<[string, Answer]>([
    ['of the message', refusalOfAll('NotOnLink')],
    ['of the IA', refusal('NotOnLink')],
  ])('NotOnLink %s leads to another address, when other servers have had their time', (_, answer) => {
    const scene = confirming()
    scene.time.pass(500)
    scene.answer('REPLY', answer)
    expect(scene.client.state).toBe('CONFIRMING')
    scene.time.pass(999)
    expect(scene.client.state).toBe('CONFIRMING')
    scene.time.pass(1)
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.client.heard).toBe(`server ${SERVER} said NotOnLink: because`)
    expect(scene.events).toEqual([{ what: 'lost', lease, why: 'refused' }])
  })

  test('one server that knows the address is enough', () => {
    const scene = confirming()
    scene.time.pass(500)
    scene.answer('REPLY', refusalOfAll('NotOnLink'))
    scene.answer('REPLY', { ...refusalOfAll('Success'), server: OTHER_SERVER })
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.heard).toBe('')
    scene.time.pass(10_000)
    expect(scene.client.state).toBe('BOUND')
  })

  test('any other status is as good as none', () => {
    const scene = confirming()
    scene.time.pass(500)
    scene.answer('REPLY', refusalOfAll('UnspecFail'))
    scene.time.pass(1000)
    expect(scene.client.state).toBe('CONFIRMING')
    expect(scene.take()).toHaveLength(2)
  })

  test('is not asked about a lease that has ended: its address is asked for anew', () => {
    const scene = new Scene()
    scene.time.pass(4_000_000)
    scene.client.resume(lease, true)
    scene.time.pass(0)
    expect(scene.take()).toEqual([['SOLICIT', 4_000_000]])
    expect(scene.events).toEqual([{ what: 'lost', lease, why: 'expired' }])
  })

  test('ends with the lease', () => {
    const scene = new Scene()
    scene.time.pass(3_995_000)
    scene.client.resume(lease, true)
    scene.time.pass(5000)
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.events).toMatchObject([{ what: 'lost', why: 'expired' }])
  })
})

describe('RELEASE (section 18.2.7)', () => {
  test('names the server and the address, and is the last that is said', () => {
    const scene = new Scene()
    scene.bind()
    scene.client.release()
    expect(scene.last).toMatchObject({
      type: 'RELEASE',
      options: {
        serverId: hex(SERVER),
        elapsedTime: 0,
        iaNa: [{ iaid: IAID, t1: 0, t2: 0, iaAddress: [{ address: ADDRESS }] }],
      },
    })
    expect(scene.last.options.optionRequest).toBeUndefined()
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.client.lease).toBeNull()
    expect(scene.time.timers).toBe(0)
    scene.client.release()
    scene.client.stop()
    expect(scene.sent).toHaveLength(1)
    expect(scene.events).toEqual([])
  })

  test('is for what was about to be accepted, too', () => {
    const scene = new Scene()
    scene.request()
    scene.client.release()
    expect(scene.take().map(([type]) => type)).toEqual(['SOLICIT', 'REQUEST', 'RELEASE'])
  })

  test('is for what was asked for without an answer, too, of each server', () => {
    const scene = new Scene()
    scene.client.start()
    scene.answer('ADVERTISE')
    scene.answer('ADVERTISE', { server: OTHER_SERVER })
    scene.time.pass(1050 + 181_000)
    scene.take()
    scene.client.release()
    expect(scene.sent.map(({ message }) => [message.type, message.options.serverId])).toEqual([
      ['RELEASE', hex(SERVER)],
      ['RELEASE', hex(OTHER_SERVER)],
    ])
  })

  test('can follow a stop', () => {
    const scene = new Scene()
    scene.bind()
    scene.client.stop()
    scene.client.release()
    scene.client.release()
    expect(scene.take().map(([type]) => type)).toEqual(['RELEASE'])
  })

  test('is not said where there is nothing to give back', () => {
    const scene = new Scene()
    scene.client.start()
    scene.client.release()
    expect(scene.take().map(([type]) => type)).toEqual(['SOLICIT'])
    expect(scene.client.state).toBe('STOPPED')
  })

  test('that can not be sent ends the client all the same', () => {
    const scene = new Scene()
    scene.bind()
    scene.onSend = () => {
      throw new Error('ENODEV')
    }
    scene.client.release()
    expect(scene.client.state).toBe('STOPPED')
  })
})

describe('DECLINE (section 18.2.8)', () => {
  test('is sent four times, and then another address is looked for', () => {
    const scene = new Scene()
    const held = scene.bind()
    scene.client.decline()
    expect(scene.client.state).toBe('DECLINING')
    expect(scene.client.lease).toBeNull()
    expect(scene.events).toEqual([{ what: 'lost', lease: held, why: 'declined' }])
    scene.time.pass(15_000)
    expect(scene.take()).toEqual([
      ['DECLINE', 0],
      ['DECLINE', 1000],
      ['DECLINE', 3000],
      ['DECLINE', 7000],
      ['SOLICIT', 15_000],
    ])
  })

  test('an address that is always in use is not asked for in a loop', () => {
    const scene = new Scene()
    scene.onSend = ({ message }) => {
      if (message.type === 'SOLICIT') scene.answer('REPLY', { options: { rapidCommit: true } })
      if (message.type === 'DECLINE') scene.answer('REPLY')
    }
    scene.onEvent = ({ what }) => {
      if (what === 'bound') scene.client.decline()
    }
    scene.client.start()
    scene.time.pass(30_500)
    const times = scene.take().filter(([type]) => type === 'SOLICIT')
    expect(times.map(([, at]) => at / 1000)).toEqual([0, 0, 1, 3, 7, 15])
  })

  test('is nothing where there is no address, or no client any more', () => {
    const scene = new Scene()
    scene.client.decline()
    scene.client.start()
    scene.client.decline()
    expect(scene.client.state).toBe('SOLICITING')
    const other = new Scene()
    other.bind()
    other.client.stop()
    other.client.decline()
    expect(other.sent).toEqual([])
  })
})

describe('who is told', () => {
  const log = (scene: Scene) => scene.logged.join('\n')

  test.each(['bound', 'lost', 'idle'] as const)('may stop it when it is %s', (what) => {
    const scene = new Scene()
    scene.bind()
    scene.onEvent = (event) => {
      if (event.what === what) scene.client.stop()
    }
    if (what === 'idle') scene.onIdle = () => scene.client.stop()
    scene.idle.length = 0
    if (what === 'lost') scene.time.pass(4_000_000)
    else {
      scene.client.renew()
      scene.answer('REPLY')
    }
    expect(scene.client.state).toBe('STOPPED')
    expect(scene.time.timers).toBe(0)
    expect(scene.idle).toHaveLength(what === 'idle' ? 1 : 0)
  })

  test('hears that nothing is to be done after it has heard of the lease', () => {
    const scene = new Scene()
    let idle = -1
    scene.onEvent = () => {
      idle = scene.idle.length
    }
    scene.bind()
    expect(idle).toBe(0)
    expect(scene.idle).toEqual([{ at: 0, state: 'BOUND' }])
    scene.client.renew()
    scene.answer('REPLY', refusalOfAll('UnspecFail'))
    expect(scene.idle).toHaveLength(1)
    scene.answer('REPLY')
    expect(scene.idle).toHaveLength(2)
  })

  test.each([false, true])('of a lease that was taken up, too (confirmed: %s)', (confirm) => {
    const scene = new Scene()
    scene.client.resume(lease, confirm)
    scene.time.pass(500)
    if (confirm) {
      expect(scene.idle).toEqual([])
      scene.answer('REPLY')
    }
    expect(scene.idle).toMatchObject([{ state: 'BOUND' }])
  })

  test('may throw: an offer that could not be noted is not accepted', () => {
    const scene = new Scene()
    scene.onEvent = () => {
      throw new Error('disk full')
    }
    scene.request()
    expect(scene.client.state).toBe('INIT')
    expect(scene.client.heard).toBe(`the offer of server ${SERVER} could not be noted: disk full`)
    scene.onEvent = () => {}
    scene.time.pass(0)
    scene.answer('ADVERTISE', { options: { preference: 255 } })
    scene.answer('REPLY')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.heard).toBe('')
  })

  test('may throw: everything else goes on', async () => {
    const scene = new Scene({ probe: true })
    scene.onEvent = ({ what }) => {
      throw new Error(`no ${what}`)
    }
    scene.onIdle = () => {
      throw new Error('no idle')
    }
    scene.client.start()
    scene.answer('REPLY', { options: { rapidCommit: true } })
    expect(scene.client.state).toBe('CHECKING')
    scene.probes[0]!.resolve(false)
    await settled()
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.heard).toBe('no bound')
    scene.time.pass(4_000_000)
    expect(scene.client.state).toBe('SOLICITING')
    scene.answer('REPLY', { options: { rapidCommit: true } })
    scene.probes[1]!.resolve(true)
    await settled()
    expect(scene.client.state).toBe('DECLINING')
    for (const what of ['requesting', 'bound', 'lost', 'declined', 'idle'])
      expect(log(scene)).toContain(`no ${what}`)
  })

  test('hears why nothing could be sent, until something is', () => {
    const scene = new Scene()
    scene.request()
    scene.answer('REPLY', refusal('NoAddrsAvail'))
    scene.onSend = () => {
      throw new Error('ENETDOWN')
    }
    scene.time.pass(0)
    expect(scene.client.heard).toBe('SOLICIT could not be sent: ENETDOWN')
    scene.onSend = () => {}
    scene.time.pass(2000)
    expect(scene.client.heard).toBe(`server ${SERVER} said NoAddrsAvail: because`)
  })
})
