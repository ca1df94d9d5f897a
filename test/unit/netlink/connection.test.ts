import { describe, expect, it } from 'vitest'
import { addressLayout } from '../../../netlink/address.ts'
import {
  address,
  Connection,
  isErrno,
  link,
  NetlinkError,
  Netns,
  nftables,
  SocketError,
  waitForLink,
} from '../../../netlink/index.ts'
import { linkLayout } from '../../../netlink/link/layout.ts'
import { FakeKernel, fakeObject } from '../../support/fake-kernel.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWADDR = 20
const RTM_GETADDR = 22

const eth0 = fakeObject(RTM_NEWLINK, linkLayout, { index: 2, flags: 1 }, { ifname: 'eth0', mtu: 1500 })

const one = fakeObject(
  RTM_NEWADDR,
  addressLayout,
  { family: 2, prefixLength: 24, index: 2 },
  { local: '10.0.0.1' },
)

describe('a connection', () => {
  it('runs one request', async () => {
    const kernel = new FakeKernel({ [RTM_GETLINK]: () => ({ objects: [eth0] }) })
    const found = await kernel.connect().run(link.get('eth0'))
    expect(found).toMatchObject({ index: 2, name: 'eth0', mtu: 1500, up: true, kind: undefined })
    expect(kernel.requests[0]!.as(linkLayout).attributes).toEqual({ ifname: 'eth0', extMask: 8 })
  })

  it('throws what the kernel refuses', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => ({ errno: 17, message: 'taken', offset: 32 }) })
    await expect(kernel.connect().run(link.add({ name: 'x', kind: 'dummy' }))).rejects.toMatchObject({
      name: 'NetlinkError',
      code: 'EEXIST',
      kernelMessage: 'taken',
      attribute: 'ifname',
    })
  })

  it('sends a batch in one datagram and gives each its outcome', async () => {
    const kernel = new FakeKernel({
      [RTM_NEWLINK]: ({ count }) => (count === 1 ? { errno: 16 } : undefined),
      [RTM_GETLINK]: () => ({ objects: [eth0] }),
    })
    const [first, second, third] = await kernel
      .connect()
      .batch([link.set(2, { up: true }), link.set(3, { up: true }), link.get(2)])
    expect(kernel.datagrams).toBe(1)
    expect(first).toEqual({ ok: true, value: undefined })
    expect(second).toMatchObject({ ok: false, error: { code: 'EBUSY', op: 'set link 3 (up)' } })
    expect(third).toMatchObject({ ok: true, value: { name: 'eth0' } })
  })

  it('cuts a very long batch into several datagrams', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined })
    const many = Array.from({ length: 1100 }, (_, i) => link.set(i + 1, { up: true }))
    const outcomes = await kernel.connect().batch(many)
    expect(outcomes).toHaveLength(1100)
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
    expect(kernel.datagrams).toBe(3)
  })

  it('sends nothing of a batch in which a value is out of range', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined })
    const many = Array.from({ length: 600 }, () => link.set(1, { up: true }))
    await expect(kernel.connect().batch([...many, link.set(1, { mtu: -1 })])).rejects.toThrow(RangeError)
    expect(kernel.datagrams).toBe(0)
  })

  it('lets a dump share a datagram only as the last of it', async () => {
    const kernel = new FakeKernel({
      [RTM_GETADDR]: () => ({ objects: [] }),
      [RTM_GETLINK]: () => ({ objects: [eth0] }),
    })
    const conn = kernel.connect()
    await expect(conn.batch([address.list(), link.get(2)])).rejects.toThrow(RangeError)
    await expect(conn.batch([address.list(), address.list()])).rejects.toThrow(RangeError)
    expect(kernel.datagrams).toBe(0)
    expect(await conn.batch([address.list()])).toEqual([{ ok: true, value: [] }])
    const both = await conn.batch([link.get(2), address.list()])
    expect(both).toMatchObject([
      { ok: true, value: { name: 'eth0' } },
      { ok: true, value: [] },
    ])
    expect(kernel.datagrams).toBe(2)
  })

  it('asks again for the dump alone when one in a batch was interrupted', async () => {
    const kernel = new FakeKernel({
      [RTM_GETADDR]: ({ count }) => ({ objects: [one], interrupted: count === 1 }),
      [RTM_NEWLINK]: () => undefined,
    })
    const outcomes = await kernel.connect().batch([link.set(1, { up: true }), address.list()])
    expect(outcomes).toMatchObject([
      { ok: true, value: undefined },
      { ok: true, value: [{ address: '10.0.0.1/24' }] },
    ])
    expect(kernel.requests.map(({ type }) => type)).toEqual([RTM_NEWLINK, RTM_GETADDR, RTM_GETADDR])
    const stormy = new FakeKernel({
      [RTM_GETADDR]: () => ({ objects: [one], interrupted: true }),
      [RTM_NEWLINK]: () => undefined,
    })
    expect(await stormy.connect().batch([link.set(1, { up: true }), address.list()])).toMatchObject([
      { ok: true },
      { ok: false, code: 'EINTR', error: { op: 'list addresses' } },
    ])
  })

  it('asks again when a dump was interrupted, and gives up some time', async () => {
    const kernel = new FakeKernel({
      [RTM_GETADDR]: ({ count }) => ({ objects: [one], interrupted: count < 3 }),
    })
    expect(await kernel.connect().run(address.list())).toMatchObject([{ address: '10.0.0.1/24' }])
    expect(kernel.requests).toHaveLength(4)
    const stormy = new FakeKernel({ [RTM_GETADDR]: () => ({ objects: [one], interrupted: true }) })
    await expect(stormy.connect().run(address.list())).rejects.toMatchObject({ code: 'EINTR' })
    expect(stormy.requests.length).toBeLessThan(100)
  })

  it('has one exchange under way at a time, in the order of the calls', async () => {
    const order: string[] = []
    let running = 0
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined })
    const slow = {
      transact: async (socket: unknown, datagram: Uint8Array) => {
        expect(++running).toBe(1)
        await new Promise((resolve) => setImmediate(resolve))
        running--
        order.push(String(kernel.requests.length))
        return kernel.transact(socket, datagram)
      },
      transactSync: () => {
        throw new Error('not this way')
      },
    }
    const queued = new Connection({ fd: 3, close: () => {} }, { transport: slow })
    await Promise.all([1, 2, 3].map((index) => queued.run(link.set(index, { up: true }))))
    expect(kernel.requests.map((request) => request.as(linkLayout).index)).toEqual([1, 2, 3])
    expect(new Set(kernel.requests.map(({ seq }) => seq)).size).toBe(3)
    expect(order).toHaveLength(3)
  })

  it('goes on after an exchange that failed', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined })
    let broken = true
    const conn = new Connection(
      { fd: 3, close: () => {} },
      {
        transport: {
          transact: async (socket, datagram) => {
            if (broken) throw new Error('cable cut')
            return kernel.transact(socket, datagram)
          },
          transactSync: () => new Uint8Array(),
        },
      },
    )
    await expect(conn.run(link.set(1, { up: true }))).rejects.toThrow('cable cut')
    broken = false
    await conn.run(link.set(1, { up: true }))
  })

  it.each([false, true])('says what it was about when the socket fails (sync %s)', async (sync) => {
    const cause = Object.assign(new Error('sendto: ENOMEM'), { code: 'ENOMEM', errno: 12, syscall: 'sendto' })
    const fail = () => {
      throw cause
    }
    const transport = { transact: async () => fail(), transactSync: fail }
    const conn = new Connection({ fd: 3, close: () => {} }, { transport, sync })
    const error = await conn.run(link.add({ name: 'x', kind: 'dummy' })).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(SocketError)
    expect(error).toMatchObject({
      message: 'add link x (dummy): sendto: ENOMEM',
      op: 'add link x (dummy)',
      errno: 12,
      code: 'ENOMEM',
      syscall: 'sendto',
      cause,
    })
    expect(isErrno(error, 'ENOMEM')).toBe(true)
    const many = [link.set(2, { up: true }), link.set(3, { up: true }), link.set(4, { up: true })]
    await expect(conn.batch(many)).rejects.toThrow('set link 2 (up) and 2 more: sendto: ENOMEM')
    const table = nftables.addTable({ family: 'inet', table: 'x' })
    await expect(nftables.transaction(conn, [table, table])).rejects.toThrow(
      'change the nf_tables rule set (add table inet x and 1 more): sendto: ENOMEM',
    )
    const place = { netns: Netns.current(), connection: conn }
    await expect(waitForLink(place, 'y', () => false, { timeout: 1 })).rejects.toThrow(
      'get link y: sendto: ENOMEM',
    )
  })

  it('asks its guard before it sends', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined })
    let allowed = true
    const conn = kernel.connect({
      guard: () => {
        if (!allowed) throw new Error('aborted')
      },
    })
    await conn.run(link.set(1, { up: true }))
    allowed = false
    await expect(conn.run(link.set(1, { up: true }))).rejects.toThrow('aborted')
    await expect(conn.batch([link.set(1, { up: true })])).rejects.toThrow('aborted')
    expect(kernel.requests).toHaveLength(1)
  })

  it('runs on the calling thread where that is asked for', async () => {
    const kernel = new FakeKernel({ [RTM_NEWLINK]: () => ({ errno: 1 }) })
    const conn = kernel.connect({ sync: true })
    await expect(conn.run(link.set(1, { up: true }))).rejects.toBeInstanceOf(NetlinkError)
  })

  describe('on the calling thread when somebody says so', () => {
    /** Which way each exchange went, and when those of a thread end. */
    const place = (isAlone: () => boolean) => {
      const kernel = new FakeKernel({ [RTM_NEWLINK]: () => undefined, [RTM_DELLINK]: () => undefined })
      const ways: string[] = []
      const ends: (() => void)[] = []
      const transport = {
        transactSync(socket: unknown, datagram: Uint8Array) {
          ways.push('here')
          return kernel.transactSync(socket, datagram)
        },
        async transact(socket: unknown, datagram: Uint8Array) {
          ways.push('thread')
          await new Promise<void>((resolve) => ends.push(resolve))
          return kernel.transactSync(socket, datagram)
        },
      }
      const conn = new Connection({ fd: 3, close: () => {} }, { transport, sync: isAlone })
      return { conn, ways, ends }
    }

    it('is asked before each exchange', async () => {
      let alone = true
      const { conn, ways, ends } = place(() => alone)
      await conn.run(link.set(1, { up: true }))
      alone = false
      const second = conn.run(link.set(1, { up: true }))
      await Promise.resolve().then(() => {})
      ends[0]!()
      await second
      alone = true
      await conn.batch([link.set(1, { up: true })])
      expect(ways).toEqual(['here', 'thread', 'here'])
    })

    it('but not to delete a link, alone or among others', async () => {
      const { conn, ways, ends } = place(() => true)
      for (const work of [
        () => conn.run(link.delete(1)),
        () => conn.batch([link.set(1, { up: false }), link.delete(1)]),
      ]) {
        const done = work()
        await Promise.resolve().then(() => {})
        ends.shift()!()
        await done
      }
      expect(ways).toEqual(['thread', 'thread'])
    })

    it('and not while another exchange is under way or waits: the order is that of the calls', async () => {
      const { conn, ways, ends } = place(() => true)
      const slow = conn.run(link.delete(1))
      const behind = conn.run(link.set(1, { up: true }))
      await Promise.resolve().then(() => {})
      expect(ways).toEqual(['thread'])
      ends[0]!()
      await slow
      await new Promise((resolve) => setImmediate(resolve))
      expect(ways).toEqual(['thread', 'thread'])
      ends[1]!()
      await behind
      await conn.run(link.set(1, { up: true }))
      expect(ways).toEqual(['thread', 'thread', 'here'])
    })
  })

  it('wraps its sequence numbers before they become negative', () => {
    const conn = new FakeKernel({}).connect()
    expect(conn.takeSeq(0x7fff_fff0)).toBe(1)
    expect(conn.takeSeq(100)).toBe(1)
    expect(conn.takeSeq(1)).toBe(101)
  })
})
