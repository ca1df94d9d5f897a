import { describe, expect, it } from 'vitest'
import {
  address,
  link,
  monitor,
  route,
  TimeoutError,
  waitForAddress,
  waitForLink,
  waitForRoute,
} from '../../../netlink/index.ts'
import { all, netlinkSockets, place } from './open.ts'

const timeout = 5000

describe('waiting for a link', () => {
  it('asks once when there is nothing to wait for', async () => {
    const { space, netns, conn } = await place()
    await all(conn, link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }))
    let asked = 0
    using counted = netns.connect({ guard: () => void asked++ })
    const found = await waitForLink({ netns, connection: counted }, 7, (one) => one?.up === true, { timeout })
    expect(found).toMatchObject({ name: 'ifb7' })
    expect(asked).toBe(1)
    const before = await netlinkSockets(space)
    expect(await waitForLink(netns, 'nonesuch', (one) => one === undefined, { timeout })).toBeUndefined()
    expect(await netlinkSockets(space)).toBe(before)
  })

  it('sees it come, change, and go', async () => {
    const { space, netns, conn } = await place()
    const before = await netlinkSockets(space)
    const comes = waitForLink(netns, 'veth0', (one) => one !== undefined, { timeout })
    await all(
      conn,
      link.add({ name: 'veth0', index: 20, kind: 'veth', data: { peer: { name: 'veth1', index: 21 } } }),
    )
    expect(await comes).toMatchObject({ index: 20 })
    const works = waitForLink(netns, 20, (one) => one?.operState === 'up', { timeout })
    await all(conn, link.set(20, { up: true }), link.set(21, { up: true }))
    expect(await works).toMatchObject({ operState: 'up', carrier: true })
    const renamed = waitForLink(netns, 'veth0', (one) => one === undefined, { timeout })
    await all(conn, link.set(20, { up: false }), link.set(20, { name: 'lan0' }))
    expect(await renamed).toBeUndefined()
    const goes = waitForLink(netns, 20, (one) => one === undefined, { timeout })
    await all(conn, link.delete(20))
    expect(await goes).toBeUndefined()
    expect(await netlinkSockets(space)).toBe(before)
  })

  it('by a subscription of the caller, opened before the change', async () => {
    const { netns, conn } = await place()
    using subscription = monitor(netns, { groups: ['link'] })
    await all(
      conn,
      link.add({
        name: 'veth0',
        index: 20,
        up: true,
        kind: 'veth',
        data: { peer: { name: 'veth1', index: 21 } },
      }),
      link.set(21, { up: true }),
    )
    const found = await waitForLink(
      { netns, connection: conn, subscription },
      20,
      (one) => one?.operState === 'up',
      { timeout },
    )
    expect(found?.operState).toBe('up')
    expect(subscription.closed).toBe(false)
    // An older event must not be taken for the present: it was up, and is no more.
    await all(conn, link.set(21, { up: false }), link.set(21, { up: true }), link.set(20, { up: false }))
    await expect(
      waitForLink({ netns, connection: conn, subscription }, 20, (one) => one?.operState === 'up', {
        timeout: 100,
      }),
    ).rejects.toThrow(TimeoutError)
    subscription.close()
    await expect(
      waitForLink({ netns, connection: conn, subscription }, 20, (one) => one?.operState === 'up', {
        timeout: 100,
      }),
    ).rejects.toThrow('the subscription was closed')
  })

  it('gives up in time, and says what it saw last', async () => {
    const { space, netns, conn } = await place()
    await all(
      conn,
      link.add({ name: 'veth0', index: 20, up: true, kind: 'veth', data: { peer: { name: 'veth1' } } }),
    )
    const before = await netlinkSockets(space)
    const start = performance.now()
    const late = waitForLink(netns, 'veth0', (one) => one?.operState === 'up', { timeout: 100 })
    await expect(late).rejects.toMatchObject({
      name: 'TimeoutError',
      code: 'ETIMEDOUT',
      message: expect.stringMatching(
        /^wait for link veth0: not within 100 ms; it is veth0 up, operational state \w+, master none$/,
      ),
      lastState: { index: 20 },
    })
    expect(performance.now() - start).toBeLessThan(2000)
    await expect(waitForLink(netns, 99, Boolean, { timeout: 20 })).rejects.toThrow('it is not there')
    expect(await netlinkSockets(space)).toBe(before)
  })

  it('ends with the reason of its signal', async () => {
    const { space, netns } = await place()
    const before = await netlinkSockets(space)
    const stop = new AbortController()
    const waiting = waitForLink(netns, 99, Boolean, { timeout, signal: stop.signal })
    setImmediate(() => stop.abort(new Error('enough')))
    await expect(waiting).rejects.toThrow('enough')
    await expect(waitForLink(netns, 99, Boolean, { timeout, signal: stop.signal })).rejects.toThrow('enough')
    expect(await netlinkSockets(space)).toBe(before)
  })
})

describe('waiting for addresses', () => {
  it('asks once when they are there, and sees them come', async () => {
    const { netns, conn } = await place()
    await all(conn, link.add({ name: 'ifb7', index: 7, kind: 'ifb' }))
    const has = (ip: string) => (all: readonly address.Address[]) => all.some((one) => one.ip === ip)
    const comes = waitForAddress(netns, 7, has('10.1.2.3'), { timeout })
    await all(conn, address.add({ index: 7, address: '10.1.2.3/24' }))
    expect(await comes).toMatchObject([{ address: '10.1.2.3/24' }])
    let asked = 0
    using counted = netns.connect({ guard: () => void asked++ })
    await waitForAddress({ netns, connection: counted }, 7, has('10.1.2.3'), { timeout })
    expect(asked).toBe(1)
    await expect(waitForAddress(netns, 7, has('10.1.2.4'), { timeout: 30 })).rejects.toThrow(
      'wait for addresses of link 7: not within 30 ms; it is 10.1.2.3/24',
    )
    await expect(waitForAddress(netns, 99, has('10.1.2.4'), { timeout: 30 })).rejects.toMatchObject({
      code: 'ENODEV',
    })
  })
})

describe('waiting for routes', () => {
  it('sees them come into a table that was not there', async () => {
    const { netns, conn } = await place()
    await all(conn, link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }))
    const has = (dst: string) => (routes: readonly route.Route[]) => routes.some((one) => one.dst === dst)
    const comes = waitForRoute(netns, { table: 77, family: 4 }, has('10.1.0.0/16'), { timeout })
    await all(conn, route.add({ dst: '10.1.0.0/16', index: 7, table: 77 }))
    expect(await comes).toMatchObject([{ dst: '10.1.0.0/16', table: 77 }])
    await expect(waitForRoute(netns, { table: 77 }, has('10.2.0.0/16'), { timeout: 30 })).rejects.toThrow(
      'wait for routes of table 77: not within 30 ms; it is 10.1.0.0/16',
    )
  })
})
