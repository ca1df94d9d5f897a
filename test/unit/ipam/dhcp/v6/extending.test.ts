import { describe, expect, test } from 'vitest'
import { INFINITY, type StatusCode } from '../../../../../ipam/dhcp/v6/options.ts'
import { hex, toHex } from '../wire.ts'
import {
  ADDRESS,
  type Answer,
  lease,
  OTHER_ADDRESS,
  OTHER_SERVER,
  refusal,
  refusalOfAll,
  Scene,
  SERVER,
  settled,
} from './scene.ts'

describe('a lease', () => {
  test('is renewed at T1, with its server', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(999_999)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.sent).toEqual([])
    scene.time.pass(1)
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.last).toMatchObject({
      type: 'RENEW',
      options: { serverId: hex(SERVER), optionRequest: [82, 23, 24] },
    })
    expect(scene.last.options.iaNa?.[0]?.iaAddress?.[0]).toEqual({
      address: ADDRESS,
      preferredLifetime: 0,
      validLifetime: 0,
    })
    scene.answer('REPLY', { options: { dnsServers: ['2001:db8::54'] } })
    expect(scene.client.state).toBe('BOUND')
    const [event] = scene.events
    expect(event).toMatchObject({
      what: 'bound',
      lease: { address: ADDRESS, dnsServers: ['2001:db8::54'], expiresAt: scene.time.now() + 4_000_000 },
      previous: { address: ADDRESS, dnsServers: [], expiresAt: scene.time.now() + 3_000_000 },
    })
  })

  test('is renewed again and again', () => {
    const scene = new Scene()
    scene.bind()
    scene.onSend = () => scene.answer('REPLY')
    scene.time.pass(100_000_000)
    expect(scene.take()).toHaveLength(100)
    expect(scene.client.state).toBe('BOUND')
    expect(scene.time.timers).toBe(1)
  })

  test('is renewed now, where that is asked for', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(5000)
    scene.client.renew()
    expect(scene.client.state).toBe('RENEWING')
    scene.client.renew()
    expect(scene.take()).toEqual([['RENEW', 5000]])
  })

  test('RENEW is repeated until T2, REBIND until the end, and then it begins anew', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(4_000_000)
    const asked = scene.last.options.iaNa?.[0]?.iaAddress?.map(({ address }) => address)
    const seconds = scene.take().map(([type, at]) => [type, at / 1000] as const)
    const until = (type: string) => seconds.filter(([one]) => one === type).map(([, at]) => at)
    expect(until('RENEW')).toEqual([1000, 1010, 1030, 1070, 1150, 1310, 1630])
    expect(until('REBIND')).toEqual([2000, 2010, 2030, 2070, 2150, 2310, 2630, 3230, 3830])
    expect(until('SOLICIT')).toEqual([4000])
    // Its server may have the address for it still.
    expect(asked).toEqual([ADDRESS])
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.client.lease).toBeNull()
    expect(scene.events).toMatchObject([{ what: 'lost', why: 'expired', lease: { address: ADDRESS } }])
  })

  test('is rebound with any server, which is its server then', () => {
    const scene = new Scene()
    scene.extend('REBINDING')
    expect(scene.last).toMatchObject({ type: 'REBIND' })
    expect(scene.last.options.serverId).toBeUndefined()
    scene.answer('REPLY', { server: OTHER_SERVER })
    expect(scene.client.state).toBe('BOUND')
    scene.time.pass(1_000_000)
    expect(toHex(scene.last.options.serverId!)).toBe(OTHER_SERVER)
  })

  test('takes an answer to a RENEW from its server only', () => {
    const scene = new Scene()
    scene.extend('RENEWING')
    scene.answer('REPLY', { server: OTHER_SERVER })
    expect(scene.client.state).toBe('RENEWING')
  })

  test('may move to another address', () => {
    const scene = new Scene()
    scene.extend('RENEWING')
    scene.answer('REPLY', { address: OTHER_ADDRESS })
    expect(scene.events).toMatchObject([
      { what: 'bound', lease: { address: OTHER_ADDRESS }, previous: { address: ADDRESS } },
    ])
  })

  describe('without some of its times', () => {
    const times = (answer: Answer, seconds: number) => {
      const scene = new Scene()
      scene.bind(answer)
      scene.time.pass(seconds * 1000)
      return { scene, sent: scene.take().map(([type, at]) => [type, at / 1000]) }
    }

    test('for ever: nothing more is said', () => {
      const { scene, sent } = times({ preferred: INFINITY, valid: INFINITY, ia: { t1: 0, t2: 0 } }, 1e9)
      expect(sent).toEqual([])
      expect(scene.time.timers).toBe(0)
      expect(scene.client.state).toBe('BOUND')
    })

    test('never renewed (section 7.7): it ends, and another is looked for', () => {
      const { scene, sent } = times({ preferred: 100, valid: 100, ia: { t1: INFINITY, t2: INFINITY } }, 100)
      expect(sent).toEqual([['SOLICIT', 100]])
      expect(scene.events).toMatchObject([{ what: 'lost', why: 'expired' }])
    })

    test('never rebound: it is renewed until its end', () => {
      const { sent } = times({ preferred: 100, valid: 100, ia: { t1: 50, t2: INFINITY } }, 100)
      expect(sent).toEqual([
        ['RENEW', 50],
        ['RENEW', 60],
        ['RENEW', 80],
        ['SOLICIT', 100],
      ])
    })

    test('renewed for ever', () => {
      const { sent } = times({ preferred: INFINITY, valid: INFINITY, ia: { t1: 10, t2: INFINITY } }, 4000)
      expect(sent).toHaveLength(12)
      expect(new Set(sent.map(([type]) => type))).toEqual(new Set(['RENEW']))
    })

    test('T1 and T2 at once: it is rebound', () => {
      expect(times({ ia: { t1: 5, t2: 5 } }, 5).sent).toEqual([['REBIND', 5]])
    })

    test('of seconds', () => {
      const { sent } = times({ preferred: 4, valid: 6, ia: { t1: 0, t2: 0 } }, 6)
      expect(sent).toEqual([
        ['RENEW', 2],
        ['REBIND', 3.2],
        ['SOLICIT', 6],
      ])
    })
  })

  test.each([
    [1500, 'RENEW'],
    [2500, 'REBIND'],
    [4500, 'SOLICIT'],
  ])('after %i seconds of sleep, %s is due', (seconds, type) => {
    const scene = new Scene()
    scene.bind()
    scene.time.sleep(seconds * 1000)
    expect(scene.take()).toEqual([[type, seconds * 1000]])
    expect(scene.events.length).toBe(type === 'SOLICIT' ? 1 : 0)
  })

  test.each(['RENEWING', 'REBINDING'] as const)('that ends while the machine sleeps in %s', (state) => {
    const scene = new Scene()
    scene.extend(state)
    scene.take()
    scene.time.sleep(5_000_000)
    expect(scene.take().map(([type]) => type)).toEqual(['SOLICIT'])
    expect(scene.events).toMatchObject([{ what: 'lost', why: 'expired' }])
  })
})

describe('a REPLY that does not extend', () => {
  const both = ['RENEWING', 'REBINDING'] as const

  test.each(
    both.flatMap((state) =>
      (
        [
          ['UnspecFail', refusalOfAll('UnspecFail')],
          ['NoAddrsAvail', refusal('NoAddrsAvail')],
          ['UseMulticast', refusalOfAll('UseMulticast')],
          ['no IA', { options: { iaNa: [] } }],
          ['an IA without an address', { ia: { iaAddress: [] } }],
          ['another IA', { ia: { iaid: 1 } }],
          ['an end without an address of ours', { address: OTHER_ADDRESS, preferred: 0, valid: 0 }],
        ] as [string, Answer][]
      ).map(([name, answer]) => [state, name, answer] as const),
    ),
  )('in %s: %s is as good as none', (state, _, answer) => {
    const scene = new Scene()
    const held = scene.extend(state)
    const { length } = scene.sent
    scene.answer('REPLY', answer)
    expect(scene.client.state).toBe(state)
    expect(scene.client.lease).toBe(held)
    expect(scene.client.heard).toMatch(/^server \w+ (said|gave)/)
    expect(scene.events).toEqual([])
    // The message is repeated as if there had been no answer, and a better one counts.
    scene.time.pass(10_000)
    expect(scene.sent).toHaveLength(length + 1)
    scene.answer('REPLY')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.heard).toBe('')
  })

  test.each(
    both.flatMap((state) =>
      (
        [
          ['NotOnLink', refusal('NotOnLink')],
          ['NotOnLink of all', refusalOfAll('NotOnLink')],
          ['the end of its address', { preferred: 0, valid: 0 }],
        ] as [string, Answer][]
      ).map(([name, answer]) => [state, name, answer] as const),
    ),
  )('in %s: after %s another address is looked for', (state, _, answer) => {
    const scene = new Scene()
    const held = scene.extend(state)
    scene.answer('REPLY', answer)
    expect(scene.client.state).toBe('INIT')
    expect(scene.client.lease).toBeNull()
    expect(scene.events).toEqual([{ what: 'lost', lease: held, why: 'refused' }])
    scene.time.pass(0)
    expect(scene.last.type).toBe('SOLICIT')
    // It is not asked for what it does not have.
    expect(scene.last.options.iaNa?.[0]?.iaAddress).toBeUndefined()
  })

  describe('NoBinding (section 18.2.10.1)', () => {
    const forgotten = (state: 'RENEWING' | 'REBINDING', server = SERVER): Scene => {
      const scene = new Scene()
      scene.extend(state)
      scene.answer('REPLY', { ...refusal('NoBinding'), server })
      return scene
    }

    test('is answered with a REQUEST to the server that said it, and the lease is kept meanwhile', () => {
      const scene = forgotten('REBINDING', OTHER_SERVER)
      expect(scene.client.state).toBe('REQUESTING')
      expect(scene.client.lease?.address).toBe(ADDRESS)
      expect(scene.last).toMatchObject({ type: 'REQUEST', options: { serverId: hex(OTHER_SERVER) } })
      expect(scene.last.options.iaNa?.[0]?.iaAddress?.[0]?.address).toBe(ADDRESS)
      scene.answer('REPLY', { server: OTHER_SERVER })
      expect(scene.client.state).toBe('BOUND')
      expect(scene.events).toMatchObject([{ what: 'bound', previous: { server: SERVER } }])
    })

    test('where it then says nothing more, any server is asked', () => {
      const scene = forgotten('RENEWING')
      scene.sent.length = 0
      scene.time.pass(181_000)
      const types = scene.take().map(([type]) => type)
      expect(types.filter((type) => type === 'REQUEST')).toHaveLength(9)
      expect(types.at(-1)).toBe('REBIND')
      expect(scene.client.lease?.address).toBe(ADDRESS)
    })

    test('where the lease ends before, another is looked for', () => {
      const scene = new Scene()
      scene.bind({ preferred: 10, valid: 10, ia: { t1: 5, t2: 8 } })
      scene.time.pass(5000)
      scene.answer('REPLY', refusal('NoBinding'))
      scene.time.pass(5000)
      expect(scene.take().at(-1)).toEqual(['SOLICIT', 10_000])
      expect(scene.events).toMatchObject([{ what: 'lost', why: 'expired' }])
    })

    test.each<StatusCode>(['NoAddrsAvail', 'NoBinding', 'NotOnLink', 'UnspecFail'])(
      'where it then says %s, the lease is lost',
      (code) => {
        const scene = forgotten('RENEWING')
        scene.answer('REPLY', refusal(code))
        expect(scene.client.state).toBe('INIT')
        expect(scene.events).toMatchObject([{ what: 'lost', why: 'refused' }])
        expect(scene.client.heard).toBe(`server ${SERVER} said ${code}: because`)
      },
    )
  })
})

describe('another address in place of the one it had', () => {
  const moving = (): Scene => {
    const scene = new Scene({ probe: true })
    scene.client.resume(lease)
    scene.time.pass(1_000_000)
    scene.answer('REPLY', { address: OTHER_ADDRESS })
    return scene
  }

  test('is checked before, and the old one is used meanwhile', async () => {
    const scene = moving()
    expect(scene.client.state).toBe('CHECKING')
    expect(scene.client.lease?.address).toBe(ADDRESS)
    expect(scene.events).toMatchObject([{ what: 'requesting', lease: { address: OTHER_ADDRESS } }])
    scene.probes[0]!.resolve(false)
    await settled()
    expect(scene.events.at(-1)).toMatchObject({
      what: 'bound',
      lease: { address: OTHER_ADDRESS },
      previous: { address: ADDRESS },
    })
  })

  test('is declined where it is in use, and the old one kept', async () => {
    const scene = moving()
    scene.probes[0]!.resolve(true)
    await settled()
    expect(scene.last.options.iaNa?.[0]?.iaAddress?.map(({ address }) => address)).toEqual([OTHER_ADDRESS])
    scene.answer('REPLY')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.client.lease?.address).toBe(ADDRESS)
    scene.time.pass(0)
    expect(scene.last.type).toBe('RENEW')
  })

  test('comes too late where the old one ends meanwhile', () => {
    const scene = moving()
    scene.time.pass(3_000_000)
    expect(scene.events.slice(1)).toEqual([{ what: 'lost', lease, why: 'expired' }])
    expect(scene.client.state).toBe('SOLICITING')
    expect(scene.probes[0]!.signal.aborted).toBe(true)
  })

  test('is forgotten where it ends before it was checked, and the old one kept', () => {
    const scene = new Scene({ probe: true })
    scene.client.resume(lease)
    scene.time.pass(1_000_000)
    scene.answer('REPLY', { address: OTHER_ADDRESS, preferred: 1, valid: 1, ia: { t1: 0, t2: 0 } })
    scene.time.pass(1000)
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.client.lease).toBe(lease)
    scene.client.release()
    expect(scene.last.options.iaNa?.[0]?.iaAddress?.map(({ address }) => address)).toEqual([ADDRESS])
  })

  test('the one that it had is not checked again', () => {
    const scene = new Scene({ probe: true })
    scene.client.resume(lease)
    scene.time.pass(1_000_000)
    scene.answer('REPLY')
    expect(scene.client.state).toBe('BOUND')
    expect(scene.probes).toEqual([])
  })

  test('both are released', () => {
    const scene = moving()
    scene.client.release()
    expect(scene.last.type).toBe('RELEASE')
    expect(scene.last.options.iaNa?.[0]?.iaAddress?.map(({ address }) => address)).toEqual([
      ADDRESS,
      OTHER_ADDRESS,
    ])
  })
})
