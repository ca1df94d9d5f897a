import { describe, expect, test } from 'vitest'
import type { Binding } from '../../../native/binding.ts'
import {
  AF_NETLINK,
  AF_UNIX,
  expecting,
  getLink,
  held,
  ifinfomsg,
  message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  native,
  RTM_GETLINK,
  RTM_NEWLINK,
  refusal,
  replies,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
  socket,
} from './support.ts'

const netlink = () => socket(AF_NETLINK, SOCK_RAW)

/** Both functions, as promises. */
const ways: [string, Binding['transact']][] = [
  ['transact', native.transact],
  ['transactSync', async (...args) => native.transactSync(...args)],
]

describe.each(ways)('%s', (_, transact) => {
  test('collects the replies to one request', async () => {
    const found = replies(await transact(netlink(), getLink(7), expecting(7)))
    expect(found.map(({ type, seq, error }) => ({ type, seq, error }))).toEqual([
      { type: RTM_NEWLINK, seq: 7, error: 0 },
      { type: NLMSG_ERROR, seq: 7, error: 0 },
    ])
  })

  test('collects the replies to many requests of one datagram', async () => {
    const seqs = Array.from({ length: 40 }, (_, index) => 1000 + index)
    // One of them fails; the kernel goes on.
    const requests = seqs.map((seq) => getLink(seq, seq === 1020 ? 999_999 : 1))
    const found = replies(await transact(netlink(), Buffer.concat(requests), expecting(1000, 40)))
    const closings = found.filter(({ type }) => type === NLMSG_ERROR)
    expect(closings.map(({ seq }) => seq)).toEqual(seqs)
    expect(closings.filter(({ error }) => error !== 0)).toMatchObject([{ seq: 1020, error: -19 }])
  })

  test('collects a dump', async () => {
    const request = message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 3, ifinfomsg(0))
    const found = replies(await transact(netlink(), request, expecting(3)))
    expect(found.at(-1)).toMatchObject({ type: NLMSG_DONE, seq: 3 })
    expect(found.filter(({ type }) => type === RTM_NEWLINK).length).toBeGreaterThan(0)
  })

  test('drops what an earlier exchange left', async () => {
    const descriptor = netlink()
    for (let seq = 1; seq <= 5; seq++)
      expect(await transact(descriptor, getLink(seq), { ...expecting(seq), expected: 0 })).toHaveLength(0)
    const found = replies(await transact(descriptor, getLink(6), expecting(6)))
    expect(found.map(({ seq }) => seq)).toEqual([6, 6])
  })

  test('follows sequence numbers around the end of their range', async () => {
    const last = 0xffff_ffff
    const datagram = Buffer.concat([getLink(last), getLink(0)])
    const found = replies(await transact(netlink(), datagram, expecting(last, 2)))
    expect(found.map(({ seq }) => seq)).toEqual([last, last, 0, 0])
  })

  test('ends with the error of the message that speaks for all', async () => {
    const datagram = Buffer.concat([getLink(1, 999_999), getLink(2)])
    const options = { ...expecting(1, 2), expected: 100, abortSeq: 1 }
    expect(replies(await transact(netlink(), datagram, options))[0]).toMatchObject({ seq: 1, error: -19 })
    // Its success ends nothing.
    const fine = { ...expecting(1, 2), abortSeq: 1 }
    const found = replies(await transact(netlink(), Buffer.concat([getLink(1), getLink(2)]), fine))
    expect(found.map(({ seq }) => seq)).toEqual([1, 1, 2, 2])
    // It may stand outside of the range.
    const outside = { ...expecting(2), expected: 100, abortSeq: 1 }
    expect(replies(await transact(netlink(), datagram, outside))).toMatchObject([{ seq: 1, error: -19 }])
  })

  test('times out', async () => {
    const start = performance.now()
    await expect(
      transact(netlink(), getLink(1), { ...expecting(1, 1, 40), expected: 2 }),
    ).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect(performance.now() - start).toBeGreaterThan(39)
    await expect(
      transact(netlink(), getLink(1), { ...expecting(1, 1, 0.5), expected: 2 }),
    ).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  })

  test('reports what the socket refuses', async () => {
    const unconnected = socket(AF_UNIX, SOCK_STREAM)
    await expect(transact(unconnected, getLink(1), expecting(1))).rejects.toMatchObject({ syscall: 'sendto' })
    const huge = Buffer.alloc(64 << 20)
    await expect(transact(netlink(), huge, expecting(1))).rejects.toMatchObject({ code: 'EMSGSIZE' })
  })

  test('reports an overrun of the receive buffer', async () => {
    const descriptor = netlink()
    const SO_RCVBUF = 8
    native.setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, Buffer.from(Uint32Array.of(16_384).buffer))
    const requests = Array.from({ length: 200 }, (_, seq) => getLink(seq))
    await expect(transact(descriptor, Buffer.concat(requests), expecting(0, 200))).rejects.toMatchObject({
      code: 'ENOBUFS',
      syscall: 'recvmsg',
    })
    const found = replies(await transact(descriptor, getLink(500), expecting(500)))
    expect(found.map(({ seq }) => seq)).toEqual([500, 500])
  })

  test('returns bytes that nothing else writes to', async () => {
    const descriptor = netlink()
    const first = await transact(descriptor, getLink(1), expecting(1))
    const copy = first.slice()
    await transact(descriptor, getLink(2), expecting(2))
    expect(first).toEqual(copy)
    expect(first.buffer.byteLength).toBe(first.length)
  })
})

describe('transact', () => {
  test('works on a copy of the datagram', async () => {
    const datagram = getLink(1)
    const promise = native.transact(netlink(), datagram, expecting(1))
    datagram.fill(0xff)
    expect(replies(await promise)).toHaveLength(2)
  })

  test('goes on when the descriptor is closed meanwhile, and then lets the file go', async () => {
    // Known to the process once the pool has all its threads.
    await Promise.all(Array.from({ length: 8 }, () => native.transact(netlink(), getLink(1), expecting(1))))
    const before = held()
    const descriptors = Array.from({ length: 20 }, () => netlink())
    const pending = descriptors.map((descriptor) => native.transact(descriptor, getLink(1), expecting(1)))
    for (const descriptor of descriptors) descriptor.close()
    expect(descriptors[0]!.fd).toBe(-1)
    for (const bytes of await Promise.all(pending)) expect(replies(bytes)).toHaveLength(2)
    expect(held()).toEqual(before)
  })

  test('answers many at once, each on its own socket', async () => {
    const all = await Promise.all(
      Array.from({ length: 200 }, (_, seq) => native.transact(netlink(), getLink(seq), expecting(seq))),
    )
    for (const [seq, bytes] of all.entries()) expect(replies(bytes)[0]!.seq).toBe(seq)
  })

  test('refuses wrong arguments at once, not by its promise', () => {
    expect(refusal(() => native.transact(netlink(), [] as never, expecting(1)))).toBeInstanceOf(TypeError)
  })

  test('needs no privilege to look', () => {
    const request = message(RTM_GETLINK, NLM_F_REQUEST | NLM_F_ACK, 1, ifinfomsg(1))
    expect(replies(native.transactSync(netlink(), request, expecting(1)))[0]!.type).toBe(RTM_NEWLINK)
  })
})
