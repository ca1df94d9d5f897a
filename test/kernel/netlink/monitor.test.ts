import { describe, expect, it } from 'vitest'
import { address, link, type MonitorEvent, monitor, route, rule } from '../../../netlink/index.ts'
import { all, netlinkSockets, place } from './open.ts'

/** The next event that `is` the wanted one. */
const next = async (events: ReturnType<typeof monitor>, is: (event: MonitorEvent) => boolean) => {
  for (;;) {
    const event = await events.take({ timeout: 5000 })
    if (!event) throw new Error('it did not come')
    if (is(event)) return event
  }
}

describe('a monitor', () => {
  it('tells what happened since it was opened, however late it is asked', async () => {
    const { netns, conn } = await place()
    using events = monitor(netns, { groups: ['link', 'address', 'route', 'rule', 'neighbour'] })
    await all(
      conn,
      link.add({ name: 'br0', index: 10, kind: 'bridge', up: true }),
      link.add({ name: 'veth0', index: 20, kind: 'veth', master: 10, data: { peer: { name: 'veth1' } } }),
      address.add({ index: 10, address: '10.1.2.3/24' }),
      route.add({ dst: '10.5.0.0/16', index: 10 }),
      rule.add({ priority: 77, table: 5 }),
      link.set(20, { master: null }),
      address.delete({ index: 10, address: '10.1.2.3/24' }),
      link.delete(20),
    )
    const seen: MonitorEvent[] = []
    await next(events, (event) => {
      seen.push(event)
      return event.kind === 'link' && event.action === 'del' && event.link.name === 'veth0'
    })
    const has = (expected: object) => expect(seen).toContainEqual(expect.objectContaining(expected))
    has({
      kind: 'link',
      action: 'new',
      link: expect.objectContaining({ name: 'br0', up: true, kind: 'bridge' }),
    })
    has({ kind: 'port', action: 'new', port: expect.objectContaining({ name: 'veth0', master: 10 }) })
    has({ kind: 'port', action: 'del', port: expect.objectContaining({ name: 'veth0' }) })
    has({ kind: 'address', action: 'new', address: expect.objectContaining({ address: '10.1.2.3/24' }) })
    has({ kind: 'address', action: 'del', address: expect.objectContaining({ address: '10.1.2.3/24' }) })
    has({ kind: 'route', action: 'new', route: expect.objectContaining({ dst: '10.5.0.0/16' }) })
    has({ kind: 'route', action: 'del', route: expect.objectContaining({ dst: '10.1.2.0/24' }) })
    has({ kind: 'rule', action: 'new', rule: expect.objectContaining({ priority: 77, table: 5 }) })
    has({ kind: 'fdb', action: 'new' })
    // Leaving the bridge is not the end of the link.
    const left = seen.findIndex(
      ({ kind, ...rest }) => kind === 'port' && 'action' in rest && rest.action === 'del',
    )
    const gone = seen.findIndex(
      ({ kind, ...rest }) => kind === 'link' && 'action' in rest && rest.action === 'del',
    )
    expect(left).toBeLessThan(gone)
    expect(seen.some(({ kind }) => kind === 'overrun' || kind === 'malformed')).toBe(false)
  })

  it('tells only of its groups', async () => {
    const { netns, conn } = await place()
    using events = monitor(netns, { groups: ['address'] })
    await all(
      conn,
      link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }),
      address.add({ index: 7, address: '10.1.2.3/24' }),
    )
    expect(await events.take({ timeout: 5000 })).toMatchObject({
      kind: 'address',
      address: { ip: '10.1.2.3' },
    })
    expect(await events.take({ timeout: 20 })).toBeUndefined()
  })

  it('is closed by leaving the loop, and holds nothing open then', async () => {
    const { space, netns, conn } = await place()
    await all(conn, link.add({ name: 'ifb7', index: 7, kind: 'ifb' }))
    const before = await netlinkSockets(space)
    for (let i = 0; i < 5; i++) {
      const events = monitor(netns)
      expect(await netlinkSockets(space)).toBe(before + 1)
      await all(conn, link.set(7, { up: i % 2 === 0 }))
      for await (const event of events) {
        expect(event.kind).toBeTypeOf('string')
        break
      }
      expect(events.closed).toBe(true)
      expect(await netlinkSockets(space)).toBe(before)
      expect(await events.next()).toEqual({ done: true, value: undefined })
      events.close()
    }
  })

  it('ends those who wait when it is closed', async () => {
    const { netns } = await place()
    const events = monitor(netns)
    const waiting = [events.next(), events.next()]
    events.close()
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ])
  })

  it('ends with the reason of its signal', async () => {
    const { space, netns } = await place()
    const before = await netlinkSockets(space)
    const stop = new AbortController()
    const events = monitor(netns, { signal: stop.signal })
    const loop = (async () => {
      for await (const _ of events);
    })()
    stop.abort(new Error('enough'))
    await expect(loop).rejects.toThrow('enough')
    expect(await netlinkSockets(space)).toBe(before)
    expect(await events.next()).toMatchObject({ done: true })
    expect(() => monitor(netns, { signal: stop.signal })).toThrow('enough')
    expect(await netlinkSockets(space)).toBe(before)
    // Nobody was waiting: whoever asks next is told.
    const later = new AbortController()
    const unattended = monitor(netns, { signal: later.signal })
    later.abort(new Error('later'))
    await expect(unattended.next()).rejects.toThrow('later')
    expect(await unattended.next()).toMatchObject({ done: true })
  })

  it('ends without an error when its time is over, after what came before', async () => {
    const { netns, conn } = await place()
    const events = monitor(netns, { timeout: 100, groups: ['link'] })
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }))
    const seen: string[] = []
    for await (const { kind } of events) seen.push(kind)
    expect(seen).toContain('link')
  })

  it('one call may wait less long, or be aborted, without losing what comes later', async () => {
    const { netns, conn } = await place()
    using events = monitor(netns, { groups: ['link'] })
    expect(await events.take({ timeout: 10 })).toBeUndefined()
    const stop = new AbortController()
    const aborted = events.take({ signal: stop.signal })
    stop.abort(new Error('not any more'))
    await expect(aborted).rejects.toThrow('not any more')
    await expect(events.take({ signal: stop.signal })).rejects.toThrow('not any more')
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }))
    expect(await events.take({ timeout: 5000 })).toMatchObject({ kind: 'link', link: { name: 'ifb7' } })
  })

  it('says when it could not keep up', async () => {
    const { netns } = await place()
    using conn = netns.connect({ sync: true })
    using events = monitor(netns, { groups: ['link'], receiveBuffer: 4096 })
    await all(conn, link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }))
    // On this thread, so that nobody reads meanwhile.
    await all(conn, ...Array.from({ length: 200 }, (_, i) => link.set(7, { alias: `${i}` })))
    await next(events, ({ kind }) => kind === 'overrun')
    // And goes on.
    await all(conn, link.set(7, { alias: 'last' }))
    await next(events, (event) => event.kind === 'link' && event.link.alias === 'last')
  })

  it('keeps a bounded number of events for a reader that sleeps', async () => {
    const { netns, conn } = await place()
    using events = monitor(netns, { groups: ['link'] })
    await all(conn, link.add({ name: 'ifb7', index: 7, up: true, kind: 'ifb' }))
    for (let round = 0; round < 12; round++)
      await all(conn, ...Array.from({ length: 500 }, (_, i) => link.set(7, { alias: `${round}-${i}` })))
    await all(conn, link.set(7, { alias: 'last' }))
    let count = 0
    const found = await next(events, (event) => {
      count++
      return event.kind === 'overrun' || (event.kind === 'link' && event.link.alias === 'last')
    })
    expect(count).toBeGreaterThan(100)
    if (found.kind === 'overrun') {
      await all(conn, link.set(7, { alias: 'after' }))
      await next(events, (event) => event.kind === 'link' && event.link.alias === 'after')
    }
  })
})
