import { expect, test } from 'vitest'
import {
  accept,
  addChain,
  addCounter,
  addElements,
  addRule,
  addSet,
  addTable,
  createChain,
  createElements,
  createSet,
  createTable,
  deleteChain,
  deleteCounter,
  deleteElements,
  deleteRule,
  deleteSet,
  deleteTable,
  destroyChain,
  destroyTable,
  dnatMap,
  drop,
  fields,
  flushChain,
  flushSet,
  getChain,
  getSet,
  getTable,
  insertRule,
  jump,
  listChains,
  listCounters,
  listElements,
  listRules,
  listSets,
  listTables,
  match,
  named,
  namedCounter,
  type Operation,
  replaceRule,
  returns,
  transaction,
  vmap,
} from '../../../netlink/nftables/index.ts'
import { type Space, space } from '../../support/space.ts'
import { connect } from './connect.ts'

const t = { family: 'inet', table: 't' } as const
const c = { ...t, chain: 'c' } as const

const setUp = async (...operations: Operation[]) => {
  const host = await space()
  const connection = connect(host)
  await transaction(connection, [addTable(t), addChain(c), ...operations])
  return { host, connection }
}
const chainText = async (host: Space): Promise<string[]> =>
  (await host.must('nft', ['list', 'chain', 'inet', 't', 'c']))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line && !/^(table|chain|\})/.test(line))

test('tables', async () => {
  const host = await space()
  const connection = connect(host)
  await transaction(connection, [
    addTable({ ...t, comment: 'a table' }),
    createTable({ family: 'bridge', table: 'b', dormant: true }),
  ])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(
    'table inet t {\n\tcomment "a table"\n}\ntable bridge b {\n\tflags dormant\n}\n',
  )
  expect(await connection.run(listTables())).toMatchObject([
    { ...t, comment: 'a table', dormant: false },
    { family: 'bridge', table: 'b', dormant: true },
  ])
  expect(await connection.run(listTables('bridge'))).toHaveLength(1)
  expect(await connection.run(getTable(t))).toMatchObject({ ...t, use: 0 })
  await expect(transaction(connection, [createTable(t)])).rejects.toMatchObject({ code: 'EEXIST' })
  await transaction(connection, [addTable(t)])
  await transaction(connection, [deleteTable(t)])
  expect(await host.must('nft', ['list', 'tables'])).toBe('table bridge b\n')
})

test('chains', async () => {
  const { host, connection } = await setUp(
    addChain({
      ...t,
      chain: 'base',
      base: { type: 'filter', hook: 'forward', priority: -5, policy: 'drop' },
      comment: 'a chain',
    }),
    addRule({ ...c, rule: [accept()] }),
  )
  const json = await host.nftJson('list', 'chains')
  expect(json.map(({ chain }) => chain)).toMatchObject([
    { name: 'c' },
    { name: 'base', type: 'filter', hook: 'forward', prio: -5, policy: 'drop' },
  ])
  expect(await host.must('nft', ['list', 'chain', 'inet', 't', 'base'])).toContain('comment "a chain"')
  expect(await connection.run(getChain({ ...t, chain: 'base' }))).toMatchObject({
    base: { type: 'filter', hook: 'forward', priority: -5, policy: 'drop' },
    comment: 'a chain',
  })
  expect(await connection.run(listChains({ ...t, table: 'other' }))).toEqual([])
  await expect(transaction(connection, [createChain(c)])).rejects.toMatchObject({ code: 'EEXIST' })
  await transaction(connection, [addChain(c), addRule({ ...t, chain: 'base', rule: [jump('c')] })])
  await expect(transaction(connection, [deleteChain(c)])).rejects.toMatchObject({ code: 'EBUSY' })
  await transaction(connection, [flushChain({ ...t, chain: 'base' }), deleteChain(c)])
  expect((await connection.run(listChains(t))).map(({ chain }) => chain)).toEqual(['base'])
})

test('destroying does not mind what is not there', async () => {
  const { host, connection } = await setUp(addRule({ ...c, rule: [accept()] }))
  const base = { ...t, chain: 'base' }
  await transaction(connection, [
    addChain({ ...base, base: { type: 'nat', hook: 'output', priority: 0 } }),
    destroyTable({ family: 'ip', table: 'nope' }),
    destroyChain({ ...t, chain: 'nope' }),
  ])
  await transaction(connection, [destroyChain(c), destroyChain(base)])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe('table inet t {\n}\n')
  await transaction(connection, [destroyTable(t)])
  await transaction(connection, [destroyTable(t)])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe('')
  await expect(transaction(connection, [destroyChain(c)])).rejects.toMatchObject({
    op: 'destroy chain inet t c',
    code: 'ENOENT',
  })
})

test('a chain at a device', async () => {
  const host = await space()
  const connection = connect(host)
  await transaction(connection, [
    addTable({ family: 'netdev', table: 'n' }),
    addChain({
      family: 'netdev',
      table: 'n',
      chain: 'in',
      base: { type: 'filter', hook: 'ingress', priority: 0, device: 'lo' },
    }),
  ])
  expect(await host.must('nft', ['list', 'ruleset'])).toContain(
    'type filter hook ingress device "lo" priority filter; policy accept;',
  )
  expect(await connection.run(listChains())).toMatchObject([{ base: { hook: 'ingress', device: 'lo' } }])
})

test('rules at their places', async () => {
  const { host, connection } = await setUp(addRule({ ...c, rule: [accept()], comment: 'first' }))
  const [first] = await connection.run(listRules(c))
  await transaction(connection, [
    addRule({ ...c, rule: [returns()] }),
    insertRule({ ...c, rule: [drop()] }),
    addRule({ ...c, rule: [match.mark(1)] }, first!.handle),
    insertRule({ ...c, rule: [match.mark(2)] }, first!.handle),
  ])
  expect(await chainText(host)).toEqual([
    'drop',
    'meta mark 0x00000002',
    'accept comment "first"',
    'meta mark 0x00000001',
    'return',
  ])
  await transaction(connection, [replaceRule({ ...c, rule: [drop()], comment: 'other' }, first!.handle)])
  expect((await chainText(host))[2]).toBe('drop comment "other"')
  const rules = await connection.run(listRules(c))
  await transaction(connection, rules.slice(1).map(deleteRule))
  expect(await chainText(host)).toEqual(['drop'])
  await transaction(connection, [flushChain(c)])
  expect(await connection.run(listRules({ family: 'inet' }))).toEqual([])
})

test('rules that nft made are read, whatever they hold', async () => {
  const { host, connection } = await setUp()
  await host.must('nft', [
    'add',
    'rule',
    'inet',
    't',
    'c',
    'tcp',
    'option',
    'maxseg',
    'size',
    'set',
    'rt',
    'mtu',
  ])
  await host.must('nft', ['add rule inet t c numgen inc mod 2 0 counter accept comment "x"'])
  const [, second] = await connection.run(listRules(c))
  expect(second!.comment).toBe('x')
  expect(second!.expressions.map(({ kind }) => kind)).toEqual(['numgen', 'cmp', 'counter', 'immediate'])
  expect(second!.expressions[0]).toMatchObject({ kind: 'numgen', raw: expect.any(Uint8Array) })
})

const declared = [
  ['set s { type ipv4_addr; }', { key: 'ipv4_addr' }],
  [
    'set s { type ipv6_addr; flags interval; auto-merge; }',
    { key: 'ipv6_addr', interval: true, autoMerge: true },
  ],
  ['set s { type ether_addr; size 10; timeout 1h; }', { key: 'ether_addr', size: 10, timeout: 3_600_000 }],
  [
    'set s { type inet_service; flags timeout; comment "hi"; }',
    { key: 'inet_service', timeouts: true, comment: 'hi' },
  ],
  ['set s { type ifname; }', { key: 'ifname' }],
  ['set s { type mark; counter; }', { key: 'mark', counter: true }],
  [
    'set s { type ipv4_addr . inet_service; flags interval; }',
    { key: ['ipv4_addr', 'inet_service'], interval: true },
  ],
  ['set s { type inet_proto; flags dynamic; size 5; }', { key: 'inet_proto', dynamic: true, size: 5 }],
  ['set s { type ct_state; }', { key: 'ct_state' }],
  ['set s { type icmp_type; }', { key: 'icmp_type' }],
  ['set s { type iface_index; }', { key: 'iface_index' }],
  ['map s { type inet_service : ipv4_addr; }', { key: 'inet_service', value: 'ipv4_addr' }],
  ['map s { type ifname : verdict; }', { key: 'ifname', value: 'verdict' }],
  [
    'map s { type inet_proto . inet_service : ipv4_addr . inet_service; }',
    { key: ['inet_proto', 'inet_service'], value: ['ipv4_addr', 'inet_service'] },
  ],
] as const

test.each(declared)('%s', async (text, options) => {
  const { host, connection } = await setUp(addSet({ ...t, set: 's', ...options }))
  const ours = await host.must('nft', ['list', 'table', 'inet', 't'])
  const other = await space()
  await other.must('nft', ['-f', '-'], { input: `table inet t {\n${text}\nchain c { }\n}\n` })
  expect(ours).toBe(await other.must('nft', ['list', 'table', 'inet', 't']))
  const [set] = await connection.run(listSets(t))
  // nft and we mean the same by it.
  expect({ ...set, handle: 0n }).toEqual({
    ...(await connect(other).run(getSet({ ...t, set: 's' }))),
    handle: 0n,
  })
  await expect(transaction(connection, [createSet({ ...t, set: 's', ...options })])).rejects.toMatchObject({
    code: 'EEXIST',
  })
  await transaction(connection, [addSet({ ...t, set: 's', ...options }), deleteSet({ ...t, set: 's' })])
  expect(await connection.run(listSets(t))).toEqual([])
})

test('elements are added, listed and deleted', async () => {
  const set = { ...t, set: 's', key: 'ipv4_addr', timeouts: true } as const
  const { host, connection } = await setUp(
    addSet(set),
    addElements(set, [
      { key: '10.0.0.1', comment: 'one' },
      { key: '10.0.0.2', timeout: 3_600_000 },
    ]),
  )
  expect(await host.must('nft', ['list', 'set', 'inet', 't', 's'])).toMatch(
    /10\.0\.0\.1 comment "one"|10\.0\.0\.2 timeout 1h/,
  )
  const listed = await connection.run(listElements(await connection.run(getSet(set))))
  expect([...listed].sort((a, b) => a.key[0]!.localeCompare(b.key[0]!))).toMatchObject([
    { key: ['10.0.0.1'], comment: 'one', timeout: undefined },
    { key: ['10.0.0.2'], timeout: 3_600_000, expires: expect.any(Number) },
  ])
  await expect(transaction(connection, [createElements(set, [{ key: '10.0.0.1' }])])).rejects.toMatchObject({
    code: 'EEXIST',
  })
  await expect(transaction(connection, [deleteElements(set, [{ key: '10.0.0.9' }])])).rejects.toMatchObject({
    code: 'ENOENT',
  })
  await transaction(connection, [deleteElements(set, [{ key: '10.0.0.1' }])])
  expect(await connection.run(listElements(set))).toMatchObject([{ key: ['10.0.0.2'] }])
  await transaction(connection, [flushSet(set)])
  expect(await connection.run(listElements(set))).toEqual([])
})

test('intervals', async () => {
  const set = { ...t, set: 's', key: 'ipv4_addr', interval: true } as const
  const { host, connection } = await setUp(
    addSet(set),
    addElements(set, [
      { key: '10.0.0.0/8' },
      { key: '192.168.0.1' },
      { key: { from: '172.16.0.5', to: '172.16.0.9' } },
      { key: '255.0.0.0/8' },
      { key: '0.0.0.0/8', comment: 'zero' },
      { key: '11.0.0.0/8' },
    ]),
  )
  const keys = [
    '0.0.0.0/8',
    '10.0.0.0/8',
    '11.0.0.0/8',
    '172.16.0.5-172.16.0.9',
    '192.168.0.1',
    '255.0.0.0/8',
  ]
  expect((await connection.run(listElements(set))).map(({ key }) => key[0])).toEqual(keys)
  const text = await host.must('nft', ['list', 'set', 'inet', 't', 's'])
  const shown = /elements = \{([^}]*)\}/s
    .exec(text)![1]!
    .split(',')
    .map((each) => each.trim())
  expect(shown).toEqual(keys.map((key) => (key === '0.0.0.0/8' ? `${key} comment "zero"` : key)))
  await transaction(connection, [
    deleteElements(set, [{ key: '255.0.0.0/8' }, { key: '10.0.0.0/8' }, { key: '0.0.0.0/8' }]),
  ])
  await host.must('nft', ['add', 'element', 'inet', 't', 's', '{ 10.1.0.0/16 }'])
  expect((await connection.run(listElements(set))).map(({ key }) => key[0])).toEqual([
    '10.1.0.0/16',
    '11.0.0.0/8',
    '172.16.0.5-172.16.0.9',
    '192.168.0.1',
  ])
})

test('concatenations with intervals', async () => {
  const set = { ...t, set: 's', key: ['ipv4_addr', 'inet_service'], interval: true } as const
  const { host, connection } = await setUp(
    addSet(set),
    addElements(set, [{ key: ['10.0.0.0/8', { from: 80, to: 90 }] }, { key: ['1.2.3.4', 5] }]),
  )
  const text = await host.must('nft', ['list', 'set', 'inet', 't', 's'])
  expect(text).toContain('10.0.0.0/8 . 80-90')
  expect(text).toContain('1.2.3.4 . 5')
  expect((await connection.run(listElements(set))).map(({ key }) => key.join(' . ')).sort()).toEqual([
    '1.2.3.4 . 5',
    '10.0.0.0/8 . 80-90',
  ])
})

test('maps: to addresses and ports, to verdicts', async () => {
  const ports = {
    ...t,
    set: 'ports',
    key: ['inet_proto', 'inet_service'],
    value: ['ipv4_addr', 'inet_service'],
  } as const
  const dispatch = { ...t, set: 'dispatch', key: 'ifname', value: 'verdict' } as const
  const { host, connection } = await setUp(
    addSet(ports),
    addSet(dispatch),
    addChain({ ...t, chain: 'nat', base: { type: 'nat', hook: 'prerouting', priority: -100 } }),
    addElements(ports, [{ key: ['tcp', 80], value: ['10.0.0.2', 8080] }]),
    addElements(dispatch, [
      { key: 'veth0', value: { verdict: 'jump', chain: 'c' } },
      { key: 'veth1', value: { verdict: 'drop' } },
    ]),
    addRule({
      ...t,
      chain: 'nat',
      rule: [dnatMap({ keys: [fields.l4proto, fields.thDport], map: 'ports', family: 'ip', ports: true })],
    }),
    addRule({ ...t, chain: 'nat', rule: [vmap([fields.iifname], 'dispatch')] }),
  )
  const text = await host.must('nft', ['list', 'table', 'inet', 't'])
  expect(text).toContain('elements = { tcp . 80 : 10.0.0.2 . 8080 }')
  expect(text).toContain('"veth0" : jump c')
  expect(text).toContain('"veth1" : drop')
  expect(text).toMatch(/dnat ip (addr \. port )?to meta l4proto \. th dport map @ports/)
  expect(text).toContain('iifname vmap @dispatch')
  expect(await connection.run(listElements(ports))).toMatchObject([
    { key: ['tcp', '80'], value: ['10.0.0.2', '8080'] },
  ])
  const verdicts = await connection.run(listElements(dispatch))
  expect(Object.fromEntries(verdicts.map(({ key, value }) => [key[0], value![0]]))).toEqual({
    veth0: 'jump c',
    veth1: 'drop',
  })
  const again = addElements(ports, [{ key: ['tcp', 80], value: ['10.0.0.3', 8080] }])
  await expect(transaction(connection, [again])).rejects.toMatchObject({ code: 'EEXIST' })
  await transaction(connection, [deleteElements(ports, [{ key: ['tcp', 80] }]), again])
})

test('rules use sets with and without a name', async () => {
  const set = { ...t, set: 's', key: 'ipv4_addr' } as const
  const { host, connection } = await setUp(
    addSet(set),
    addRule({ ...c, rule: [match.ipSaddr(named('s')), accept()] }),
    addRule({ ...c, rule: [match.tcpDport([80, 443]), match.iifname(['a', 'b'], 'ne'), drop()] }),
    addRule({ ...c, rule: [match.ipDaddr(['10.0.0.0/8', '192.168.1.1']), drop()] }),
  )
  expect(await chainText(host)).toEqual([
    'ip saddr @s accept',
    'tcp dport { 80, 443 } iifname != { "a", "b" } drop',
    'ip daddr { 10.0.0.0/8, 192.168.1.1 } drop',
  ])
  const sets = await connection.run(listSets(t))
  expect(sets.map(({ anonymous }) => anonymous)).toEqual([false, true, true, true])
  await expect(transaction(connection, [deleteSet(set)])).rejects.toMatchObject({ code: 'EBUSY' })
  // Anonymous sets go with their rule.
  await transaction(connection, [flushChain(c)])
  expect(await connection.run(listSets(t))).toHaveLength(1)
})

test('counters with a name', async () => {
  const { host, connection } = await setUp(
    addCounter({ ...t, counter: 'n', packets: 3n, bytes: 4n, comment: 'hi' }),
    addRule({ ...c, rule: [namedCounter('n')] }),
  )
  expect(await host.must('nft', ['list', 'counters'])).toContain('packets 3 bytes 4')
  expect(await chainText(host)).toEqual(['counter name "n"'])
  expect(await connection.run(listCounters(t))).toMatchObject([
    { ...t, counter: 'n', packets: 3n, bytes: 4n, comment: 'hi' },
  ])
  await transaction(connection, [flushChain(c), deleteCounter({ ...t, counter: 'n' })])
  expect(await connection.run(listCounters())).toEqual([])
})
