import { expect, test } from 'vitest'
import { Netns } from '../../../netlink/netns.ts'
import {
  accept,
  addChain,
  addElements,
  addRule,
  addSet,
  addTable,
  deleteRule,
  deleteTable,
  drop,
  getChain,
  getGeneration,
  getSet,
  getTable,
  jump,
  listChains,
  listElements,
  listRules,
  listSets,
  listTables,
  match,
  TransactionError,
  transaction,
  unusable,
  update,
  usable,
} from '../../../netlink/nftables/index.ts'
import { space } from '../../support/space.ts'
import { connect } from './connect.ts'

const t = { family: 'inet', table: 't' } as const
const c = { ...t, chain: 'c' } as const

test('one refused operation: nothing changes, and every refused one is named', async () => {
  const host = await space()
  const connection = connect(host)
  await transaction(connection, [addTable(t), addChain(c), addRule({ ...c, rule: [accept()] })])
  const before = await host.must('nft', ['-a', 'list', 'ruleset'])
  const generation = await connection.run(getGeneration())
  const error = await transaction(connection, [
    addTable({ family: 'ip', table: 'new' }),
    addRule({ ...t, chain: 'nope', rule: [accept()], comment: 'first' }),
    addRule({ ...c, rule: [drop()] }),
    addRule({ ...c, rule: [jump('nowhere')], comment: 'second' }),
    deleteTable({ family: 'bridge', table: 'nope' }),
  ]).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(TransactionError)
  const { errors, code, op } = error as TransactionError
  expect(errors.map((each) => [each.op, each.code])).toEqual([
    ['add rule inet t nope comment "first"', 'ENOENT'],
    ['add rule inet t c comment "second"', 'ENOENT'],
    ['delete table bridge nope', 'ENOENT'],
  ])
  expect([op, code]).toEqual(['add rule inet t nope comment "first"', 'ENOENT'])
  expect((error as TransactionError).message).toContain(
    'and 2 more: add rule inet t c comment "second": ENOENT',
  )
  expect(await host.must('nft', ['-a', 'list', 'ruleset'])).toBe(before)
  expect(await connection.run(getGeneration())).toBe(generation)
  // The connection goes on working.
  await transaction(connection, [addRule({ ...c, rule: [drop()] })])
  expect(await connection.run(listRules(c))).toHaveLength(2)
})

test('a change by somebody else since the given generation is refused as a whole', async () => {
  const host = await space()
  const connection = connect(host)
  const generation = await connection.run(getGeneration())
  await transaction(connection, [addTable(t)], { generation })
  const late = transaction(connection, [addTable({ ...t, table: 'u' })], { generation, op: 'add u' })
  await expect(late).rejects.toMatchObject({ code: 'ERESTART', op: 'add u' })
  expect(await host.must('nft', ['list', 'tables'])).toBe('table inet t\n')
})

test('a plan is made again when what it was made for has changed', async () => {
  const host = await space()
  const [connection, other] = [connect(host), connect(host)]
  await transaction(connection, [addTable(t), addChain(c), addRule({ ...c, rule: [accept()] })])
  let plans = 0
  await update(connection, async () => {
    const rules = await connection.run(listRules(c))
    plans += 1
    if (plans === 1) await transaction(other, rules.map(deleteRule))
    return [...rules.map(deleteRule), addRule({ ...c, rule: [drop()], comment: `${plans}` })]
  })
  expect(await host.must('nft', ['list', 'chain', 'inet', 't', 'c'])).toContain('drop comment "2"')
})

test('a plan that comes out the same again is not tried again', async () => {
  const connection = connect(await space())
  let plans = 0
  const hopeless = update(connection, async () => {
    plans += 1
    return [deleteTable(t)]
  })
  await expect(hopeless).rejects.toMatchObject({ code: 'ENOENT', op: 'delete table inet t' })
  expect(plans).toBe(2)
})

test('a consistent plan starts over whatever others changed', async () => {
  const host = await space()
  const [connection, other] = [connect(host), connect(host)]
  let plans = 0
  await update(
    connection,
    async () => {
      const tables = await connection.run(listTables())
      plans += 1
      if (plans < 4) await transaction(other, [addTable({ ...t, table: `other${plans}` })])
      return [addTable({ ...t, table: `after${tables.length}` })]
    },
    { consistent: true },
  )
  expect(plans).toBe(4)
  expect(await host.must('nft', ['list', 'tables'])).toContain('table inet after3')
})

test('thousands of rules and elements in one transaction', async () => {
  const host = await space()
  const connection = connect(host)
  const set = { ...t, set: 's', key: ['ipv4_addr', 'inet_service'] } as const
  const count = 5000
  await transaction(connection, [
    addTable(t),
    addChain(c),
    addSet(set),
    addElements(
      set,
      Array.from({ length: count }, (_, i) => ({
        key: [`10.0.${i >> 8}.${i & 255}`, i],
        comment: `number ${i}`,
      })),
    ),
    ...Array.from({ length: count }, (_, i) =>
      addRule({ ...c, rule: [match.ipSaddr(`10.0.${i >> 8}.${i & 255}`), accept()], comment: `rule ${i}` }),
    ),
  ])
  const rules = await connection.run(listRules(c))
  expect(rules.map(({ comment }) => comment)).toEqual(Array.from({ length: count }, (_, i) => `rule ${i}`))
  const elements = await connection.run(listElements(set))
  expect(new Set(elements.map(({ comment }) => comment)).size).toBe(count)
  // One that fails at the end takes all of them with it.
  const failing = transaction(connection, [...rules.map(deleteRule), deleteTable({ ...t, table: 'nope' })])
  await expect(failing).rejects.toMatchObject({ op: 'delete table inet nope' })
  expect(await connection.run(listRules(c))).toHaveLength(count)
  await transaction(connection, rules.map(deleteRule))
  expect(await connection.run(listRules(c))).toEqual([])
})

test('no operations: nothing is sent', async () => {
  const connection = connect(await space())
  const generation = await connection.run(getGeneration())
  await transaction(connection, [])
  expect(await connection.run(getGeneration())).toBe(generation)
})

test('what is missing: single objects are ENOENT, lists are empty', async () => {
  const connection = connect(await space())
  await expect(connection.run(getTable(t))).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(connection.run(getChain(c))).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(connection.run(getSet({ ...t, set: 's' }))).rejects.toMatchObject({ code: 'ENOENT' })
  await expect(connection.run(listElements({ ...t, set: 's', key: 'ipv4_addr' }))).rejects.toMatchObject({
    code: 'ENOENT',
  })
  expect(await connection.run(listTables())).toEqual([])
  expect(await connection.run(listChains(t))).toEqual([])
  expect(await connection.run(listRules(c))).toEqual([])
  // The kernel has it otherwise for sets.
  await expect(connection.run(listSets(t))).rejects.toMatchObject({ code: 'ENOENT' })
  expect(await connection.run(listSets())).toEqual([])
})

test('this kernel has what masquerading needs, and asking leaves nothing', async () => {
  const host = await space()
  const netns = Netns.open(host.path)
  try {
    expect(await unusable(netns)).toBeUndefined()
    expect(await usable(netns)).toBe(true)
    expect(await host.must('nft', ['list', 'ruleset'])).toBe('')
  } finally {
    netns.close()
  }
})
