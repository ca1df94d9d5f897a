import { expect, test } from 'vitest'
import type { Descriptor, TransactOptions } from '../../../native/binding.ts'
import { littleEndian } from '../../../netlink/codec/writer.ts'
import { Connection, type Transport } from '../../../netlink/connection.ts'
import {
  addRule,
  addTable,
  deleteTable,
  match,
  TransactionError,
  transaction,
  update,
} from '../../../netlink/nftables/index.ts'
import { addMasquerade, deleteMasquerade, gcMasquerade } from '../../../plugins/shared/masquerade-nftables.ts'
import { deleteSpoofCheck, gcSpoofCheck } from '../../../plugins/shared/spoof-check.ts'

interface Message {
  readonly type: number
  readonly flags: number
  readonly seq: number
  readonly payload: Buffer
}
const messagesIn = (datagram: Uint8Array): Message[] => {
  const buffer = Buffer.from(datagram)
  const messages: Message[] = []
  for (let at = 0; at < buffer.length; ) {
    const length = buffer.readUInt32LE(at)
    messages.push({
      type: buffer.readUInt16LE(at + 4),
      flags: buffer.readUInt16LE(at + 6),
      seq: buffer.readUInt32LE(at + 8),
      payload: buffer.subarray(at + 16, at + length),
    })
    at += (length + 3) & ~3
  }
  return messages
}

/** NLMSG_ERROR for a sequence number, capped, without attributes. */
const answer = (seq: number, errno: number): Buffer => {
  const bytes = Buffer.alloc(36)
  bytes.writeUInt32LE(36, 0)
  bytes.writeUInt16LE(2, 4)
  bytes.writeUInt16LE(0x100, 6)
  bytes.writeUInt32LE(seq, 8)
  bytes.writeInt32LE(-errno, 16)
  bytes.writeUInt32LE(20, 20)
  return bytes
}

/** A kernel that answers each batch by `respond`, and what it was sent. */
const fakeKernel = (respond: (messages: Message[], attempt: number) => Uint8Array) => {
  const seen: { messages: Message[]; options: TransactOptions }[] = []
  const transactSync: Transport['transactSync'] = (_socket, datagram, options) => {
    const messages = messagesIn(datagram)
    seen.push({ messages, options })
    return respond(messages, seen.length)
  }
  const transport: Transport = {
    transactSync,
    transact: (...args) => Promise.resolve(transactSync(...args)),
  }
  const socket: Descriptor = { fd: 3, close: () => {} }
  return { connection: new Connection(socket, { sync: true, transport }), seen }
}
const acknowledge = (messages: readonly Message[], errnos: Readonly<Record<number, number>> = {}) =>
  Buffer.concat(messages.slice(1, -1).map(({ seq }, i) => answer(seq, errnos[i] ?? 0)))

const t = { family: 'inet', table: 't' } as const
const REQUEST = 1
const ACK = 4

test.runIf(littleEndian)('a batch is one datagram, BEGIN and END around the changes', async () => {
  const { connection, seen } = fakeKernel((messages) => acknowledge(messages))
  await transaction(connection, [addTable(t), deleteTable(t)], { generation: 0x01020304 })
  expect(seen).toHaveLength(1)
  const { messages, options } = seen[0]!
  expect(messages.map(({ type }) => type)).toEqual([0x10, 0xa00, 0xa02, 0x11])
  // The markers are not acknowledged.
  expect(messages.map(({ flags }) => flags & (REQUEST | ACK))).toEqual([1, 5, 5, 1])
  expect(messages[0]!.payload.toString('hex')).toBe('0000000a0800010001020304')
  expect(messages[3]!.payload.toString('hex')).toBe('0000000a')
  const [first] = messages
  expect(messages.map(({ seq }) => seq - first!.seq)).toEqual([0, 1, 2, 3])
  expect(options).toMatchObject({
    firstSeq: first!.seq,
    lastSeq: first!.seq + 3,
    expected: 2,
    abortSeq: first!.seq,
  })
})

test.runIf(littleEndian)('errors are those of the operations they belong to', async () => {
  const { connection } = fakeKernel((messages) => acknowledge(messages, { 0: 2, 2: 17 }))
  const error: unknown = await transaction(connection, [
    deleteTable(t),
    addTable(t),
    addTable({ ...t, table: 'u' }),
  ]).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(TransactionError)
  expect(error).toMatchObject({ op: 'delete table inet t', code: 'ENOENT' })
  expect((error as TransactionError).errors.map(({ message }) => message)).toEqual([
    'delete table inet t: ENOENT',
    'add table inet u: EEXIST',
  ])
  expect((error as Error).message).toBe('delete table inet t: ENOENT (and 1 more: add table inet u: EEXIST)')
})

test.runIf(littleEndian)('a batch that fails as a whole is reported under its own name', async () => {
  const { connection } = fakeKernel(([begin]) => answer(begin!.seq, 1))
  await expect(transaction(connection, [addTable(t)], { op: 'set up x' })).rejects.toMatchObject({
    message: 'set up x: EPERM',
    errors: { length: 1 },
  })
})

test.runIf(littleEndian)('an interrupted batch is sent again, under new numbers', async () => {
  const { connection, seen } = fakeKernel((messages, attempt) =>
    attempt < 3 ? answer(messages[0]!.seq, 4) : acknowledge(messages),
  )
  await transaction(connection, [addTable(t)])
  expect(seen).toHaveLength(3)
  expect(new Set(seen.map(({ messages }) => messages[0]!.seq)).size).toBe(3)
})

test.runIf(littleEndian)('a batch that is interrupted for ever fails', async () => {
  const { connection, seen } = fakeKernel(([begin]) => answer(begin!.seq, 4))
  await expect(transaction(connection, [addTable(t)])).rejects.toMatchObject({ code: 'EINTR' })
  expect(seen).toHaveLength(8)
})

test.runIf(littleEndian)('sets of one transaction have different numbers', async () => {
  const { connection, seen } = fakeKernel((messages) => acknowledge(messages))
  const rule = { ...t, chain: 'c', rule: [match.tcpDport([80, 443])] }
  const operations = [addRule(rule), addRule(rule)]
  await transaction(connection, operations)
  // Set, elements, rule, twice.
  const types = [0xa09, 0xa0c, 0xa06]
  expect(seen[0]!.messages.slice(1, -1).map(({ type }) => type)).toEqual([...types, ...types])
  const [, first, , , second] = seen[0]!.messages
  expect(first!.payload.equals(second!.payload)).toBe(false)
  // Operations are values: used again they give the same bytes.
  await transaction(connection, operations)
  const payloads = seen.map(({ messages }) => messages.map(({ payload }) => payload.toString('hex')))
  expect(payloads[0]).toEqual(payloads[1])
})

test('nothing is sent for no operations', async () => {
  const { connection, seen } = fakeKernel(() => new Uint8Array())
  await transaction(connection, [])
  expect(seen).toEqual([])
})

test.runIf(littleEndian)('a plan starts over when what it found is gone, and only then', async () => {
  const { connection, seen } = fakeKernel((messages, attempt) =>
    acknowledge(messages, { 0: { 1: 2, 2: 2, 3: 0 }[attempt] ?? 22 }),
  )
  let plans = 0
  const plan = async () => {
    plans += 1
    return [deleteTable({ ...t, table: `t${plans}` })]
  }
  await update(connection, plan)
  expect([plans, seen.length]).toEqual([3, 3])
  await expect(update(connection, plan)).rejects.toMatchObject({ code: 'EINVAL' })
  expect(plans).toBe(4)
})

test.runIf(littleEndian)('a plan is not made for ever', async () => {
  const { connection, seen } = fakeKernel((messages) => acknowledge(messages, { 0: 2 }))
  const plan = async () => [deleteTable({ ...t, table: `t${seen.length}` })]
  await expect(update(connection, plan, { attempts: 5 })).rejects.toMatchObject({ code: 'ENOENT' })
  expect(seen).toHaveLength(5)
})

test.runIf(littleEndian)('where the kernel has no nf_tables there is nothing to remove', async () => {
  const { connection } = fakeKernel((messages) => Buffer.concat(messages.map(({ seq }) => answer(seq, 22))))
  const owner = { network: 'n', containerId: 'c', ifName: 'eth0' }
  await deleteMasquerade(connection, owner)
  await gcMasquerade(connection, 'n', [])
  await deleteSpoofCheck(connection, owner)
  await gcSpoofCheck(connection, [], async () => new Set())
  await expect(addMasquerade(connection, { ...owner, addresses: ['10.0.0.1/8'] })).rejects.toMatchObject({
    code: 'EINVAL',
  })
})
