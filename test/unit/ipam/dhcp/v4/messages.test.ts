import { describe, expect, test } from 'vitest'
import { optionCodes } from '../../../../../ipam/dhcp/v4/options.ts'
import { ADDRESS, CLIENT_ID, MAC, option, Scene, SERVER, SERVER_MAC, type Sent, settled } from './scene.ts'

/** Codes of the options of a message. */
const codesOf = ({ message }: Sent): number[] => [...message.options.keys()].sort((a, b) => a - b)

const { requestedAddress, messageType, serverId, parameterRequestList, maxMessageSize, clientId } =
  optionCodes
const always = [messageType, clientId]
const asking = [...always, parameterRequestList, maxMessageSize]
const sorted = (codes: readonly number[]): number[] => [...codes].sort((a, b) => a - b)

/** RFC 2131 table 5: what is the same in every message of a client. */
const expectHeader = ({ message }: Sent): void => {
  expect(message).toMatchObject({
    op: 'BOOTREQUEST',
    htype: 1,
    hops: 0,
    yiaddr: '0.0.0.0',
    siaddr: '0.0.0.0',
    giaddr: '0.0.0.0',
    chaddr: MAC,
  })
  expect(message.options.get(clientId)).toEqual(CLIENT_ID)
}

describe('the messages of RFC 2131 table 5', () => {
  test('DISCOVER', () => {
    const scene = new Scene()
    scene.client.start()
    expectHeader(scene.last)
    expect(scene.last).toMatchObject({ type: 'DISCOVER', to: null, message: { ciaddr: '0.0.0.0' } })
    expect(codesOf(scene.last)).toEqual(sorted(asking))
    expect(option(scene.last, 'parameterRequestList')).toEqual([121, 1, 3, 6])
    expect(option(scene.last, 'maxMessageSize')).toBeGreaterThanOrEqual(576)
  })

  test('REQUEST for an offer', () => {
    const scene = new Scene()
    scene.client.start()
    const discover = scene.last.message
    scene.time.pass(2500)
    scene.answer('OFFER')
    expectHeader(scene.last)
    expect(scene.last).toMatchObject({ type: 'REQUEST', to: null, message: { ciaddr: '0.0.0.0' } })
    expect(codesOf(scene.last)).toEqual(sorted([...asking, requestedAddress, serverId]))
    expect(option(scene.last, 'requestedAddress')).toBe(ADDRESS)
    expect(option(scene.last, 'serverId')).toBe(SERVER)
    expect(option(scene.last, 'parameterRequestList')).toEqual([121, 1, 3, 6])
    expect(scene.last.message.xid).toBe(discover.xid)
  })

  test('REQUEST has the seconds of its DISCOVER, so that relays send it the same way (4.4.1)', () => {
    const scene = new Scene()
    scene.client.start()
    scene.time.pass(4000)
    expect(scene.last.message.secs).toBe(4)
    scene.time.pass(2500)
    scene.answer('OFFER')
    expect(scene.last).toMatchObject({ type: 'REQUEST', message: { secs: 4 } })
    scene.time.pass(4000)
    expect(scene.last).toMatchObject({ type: 'REQUEST', message: { secs: 4 } })
  })

  test('REQUEST after a restart', () => {
    const scene = new Scene()
    const lease = new Scene().bind()
    scene.client.resume(lease, true)
    expectHeader(scene.last)
    expect(scene.last).toMatchObject({ type: 'REQUEST', to: null, message: { ciaddr: '0.0.0.0', secs: 0 } })
    expect(codesOf(scene.last)).toEqual(sorted([...asking, requestedAddress]))
    expect(option(scene.last, 'requestedAddress')).toBe(ADDRESS)
  })

  test('REQUEST that renews goes to the server alone', () => {
    const scene = new Scene({ broadcast: true })
    scene.bind()
    scene.time.pass(1_800_000)
    expectHeader(scene.last)
    expect(scene.client.state).toBe('RENEWING')
    expect(scene.last).toMatchObject({
      type: 'REQUEST',
      to: { from: ADDRESS, to: SERVER },
      message: { ciaddr: ADDRESS, broadcast: false },
    })
    expect(codesOf(scene.last)).toEqual(sorted(asking))
  })

  test('REQUEST that rebinds goes to all', () => {
    const scene = new Scene({ broadcast: true })
    scene.bind()
    scene.time.pass(3_150_000)
    expectHeader(scene.last)
    expect(scene.client.state).toBe('REBINDING')
    expect(scene.last).toMatchObject({ type: 'REQUEST', to: null, message: { ciaddr: ADDRESS } })
    expect(codesOf(scene.last)).toEqual(sorted(asking))
  })

  test('a renewal tells the seconds since it began, not since the lease did (figure 1, secs)', () => {
    const scene = new Scene()
    scene.bind()
    scene.time.pass(1_755_000)
    expect(scene.last).toMatchObject({ type: 'REQUEST', message: { secs: 0 } })
    const began = scene.last.at
    scene.time.pass(1_000_000)
    expect(scene.last.message.secs).toBe(Math.floor((scene.last.at - began) / 1000))
    scene.time.pass(400_000)
    expect(scene.client.state).toBe('REBINDING')
    expect(scene.last.message.secs).toBe(Math.floor((scene.last.at - began) / 1000))
  })

  test('DECLINE', async () => {
    const scene = new Scene({ arpProbe: true, broadcast: true, provide: new Map([[12, Uint8Array.of(65)]]) })
    scene.client.start()
    scene.time.pass(7000)
    scene.answer('OFFER')
    scene.answer('ACK')
    scene.time.pass(2000)
    scene.probes[0]!.resolve(true)
    await settled()
    expectHeader(scene.last)
    expect(scene.last).toMatchObject({
      type: 'DECLINE',
      to: null,
      message: { ciaddr: '0.0.0.0', secs: 0, broadcast: false },
    })
    expect(codesOf(scene.last)).toEqual(sorted([...always, requestedAddress, serverId]))
  })

  test('RELEASE', () => {
    const scene = new Scene({ broadcast: true, provide: new Map([[12, Uint8Array.of(65)]]) })
    scene.bind()
    const request = scene.last.message
    scene.time.chance = () => 0.25
    scene.time.pass(600_000)
    scene.client.release()
    expectHeader(scene.last)
    expect(scene.last).toMatchObject({
      type: 'RELEASE',
      to: { from: ADDRESS, to: SERVER, mac: SERVER_MAC },
      message: { ciaddr: ADDRESS, secs: 0, broadcast: false },
    })
    expect(codesOf(scene.last)).toEqual(sorted([...always, serverId]))
    expect(option(scene.last, 'serverId')).toBe(SERVER)
    expect(scene.last.message.xid).not.toBe(request.xid)
  })

  test('have the broadcast flag where the client has no address yet', () => {
    const scene = new Scene({ broadcast: true })
    scene.client.start()
    scene.answer('OFFER')
    expect(scene.sent.map(({ message }) => message.broadcast)).toEqual([true, true])
    const again = new Scene({ broadcast: true })
    again.client.resume(new Scene().bind(), true)
    expect(again.last.message.broadcast).toBe(true)
  })

  test('carry what the configuration provides, as it is', () => {
    const value = Uint8Array.from(Buffer.from('pod-1'))
    const scene = new Scene({
      provide: new Map([
        [12, value],
        [77, Uint8Array.of(1, 2)],
      ]),
    })
    scene.bind()
    scene.client.renew()
    for (const { message } of scene.sent) {
      expect(message.options.get(12)).toEqual(value)
      expect(message.options.get(77)).toEqual(Uint8Array.of(1, 2))
    }
  })

  test('that can not be written count as lost, like those that can not be sent', () => {
    const scene = new Scene({ provide: new Map([[52, Uint8Array.of(1)]]) })
    scene.client.start()
    expect(scene.client.state).toBe('SELECTING')
    expect(scene.client.heard).toContain('52')
    expect(scene.time.timers).toBe(1)
  })
})
