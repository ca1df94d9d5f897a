import { describe, expect, test } from 'vitest'
import { Reader } from '../../../netlink/codec/reader.ts'
import { elementListLayout } from '../../../netlink/nftables/attributes.ts'
import {
  accept,
  addChain,
  addCounter,
  addElements,
  addRule,
  addSet,
  addTable,
  createElements,
  createTable,
  deleteChain,
  deleteElements,
  deleteRule,
  deleteSet,
  deleteTable,
  drop,
  flushChain,
  flushSet,
  insertRule,
  type Operation,
  replaceRule,
} from '../../../netlink/nftables/index.ts'
import { messagesOf, sent } from './bytes.ts'

const t = { family: 'inet', table: 't' } as const
const c = { ...t, chain: 'c' } as const
const s = { ...t, set: 's' } as const
const addresses = { ...s, key: 'ipv4_addr' } as const
const nat = { ...t, chain: 'p', base: { type: 'nat', hook: 'postrouting', priority: 100 } } as const
const prerouting = {
  family: 'bridge',
  table: 'nat',
  chain: 'PREROUTING',
  base: { type: 'filter', hook: 'prerouting', priority: -300, policy: 'drop' },
} as const

/** Commands for nft, and the operations that send the same bytes. */
const same: readonly (readonly [string, Operation])[] = [
  ['add table inet t { comment "hello"; }', addTable({ ...t, comment: 'hello' })],
  ['add table inet t', addTable(t)],
  ['create table bridge nat', createTable({ family: 'bridge', table: 'nat' })],
  ['delete table inet t', deleteTable(t)],
  ['add chain inet t c', addChain(c)],
  ['add chain inet t c { comment "hi"; }', addChain({ ...c, comment: 'hi' })],
  ['add chain inet t p { type nat hook postrouting priority 100; policy accept; }', addChain(nat)],
  [
    'add chain bridge nat PREROUTING { type filter hook prerouting priority -300; policy drop; }',
    addChain(prerouting),
  ],
  ['delete chain inet t c', deleteChain(c)],
  ['flush chain inet t c', flushChain(c)],
  ['add rule inet t c position 2 drop', addRule({ ...c, rule: [drop()] }, 2n)],
  ['insert rule inet t c position 2 drop', insertRule({ ...c, rule: [drop()] }, 2n)],
  ['insert rule inet t c drop', insertRule({ ...c, rule: [drop()] })],
  ['replace rule inet t c handle 2 drop', replaceRule({ ...c, rule: [drop()] }, 2n)],
  ['delete rule inet t c handle 2', deleteRule({ ...c, handle: 2n })],
  ['add rule inet t c accept comment "a comment"', addRule({ ...c, rule: [accept()], comment: 'a comment' })],
  ['add set inet t s { type ipv4_addr; }', addSet(addresses)],
  [
    'add set inet t s { type inet_service; flags interval; auto-merge; comment "hi"; }',
    addSet({ ...s, key: 'inet_service', interval: true, autoMerge: true, comment: 'hi' }),
  ],
  [
    'add set inet t s { type ether_addr; flags timeout; timeout 1h; size 100; }',
    addSet({ ...s, key: 'ether_addr', timeout: 3_600_000, size: 100 }),
  ],
  [
    'add map inet t s { type inet_service : ipv4_addr; }',
    addSet({ ...s, key: 'inet_service', value: 'ipv4_addr' }),
  ],
  ['add map inet t s { type ifname : verdict; }', addSet({ ...s, key: 'ifname', value: 'verdict' })],
  [
    'add map inet t s { type ipv4_addr : mark; counter; }',
    addSet({ ...s, key: 'ipv4_addr', value: 'mark', counter: true }),
  ],
  ['flush set inet t s', flushSet(s)],
  ['delete set inet t s', deleteSet(s)],
  [
    'add counter inet t n { packets 3 bytes 4; comment "hi"; }',
    addCounter({ ...t, counter: 'n', packets: 3n, bytes: 4n, comment: 'hi' }),
  ],
]

test.each(same)('%s', (command, operation) => {
  expect(messagesOf(operation)).toEqual(sent('operations', command))
})

/** The same for elements. nft numbers them and adds the number that it gave to the set: nobody reads either. */
const elements: readonly (readonly [string, Operation])[] = [
  [
    'add element inet t s { 10.0.0.1, 10.0.0.2 }',
    addElements(addresses, [{ key: '10.0.0.1' }, { key: '10.0.0.2' }]),
  ],
  ['delete element inet t s { 10.0.0.1 }', deleteElements(addresses, [{ key: '10.0.0.1' }])],
  [
    'create element inet t s { 10.0.0.1 comment "x" }',
    createElements(addresses, [{ key: '10.0.0.1', comment: 'x' }]),
  ],
  [
    'add element inet t s { 10.0.0.1 timeout 5s }',
    addElements(addresses, [{ key: '10.0.0.1', timeout: 5000 }]),
  ],
  [
    'add element inet t s { 10.0.0.0/8, 11.0.0.5-11.0.0.9, 255.0.0.0/8 }',
    addElements({ ...addresses, interval: true }, [
      { key: '255.0.0.0/8' },
      { key: '10.0.0.0/8' },
      { key: { from: '11.0.0.5', to: '11.0.0.9' } },
    ]),
  ],
  [
    'add element inet t s { 10.0.0.0/8 . 80-90, 1.2.3.4 . 5 }',
    addElements({ ...s, key: ['ipv4_addr', 'inet_service'], interval: true }, [
      { key: ['10.0.0.0/8', { from: 80, to: 90 }] },
      { key: ['1.2.3.4', 5] },
    ]),
  ],
  [
    'add element inet t s { tcp . 80 : 10.0.0.2 . 8080 }',
    addElements({ ...s, key: ['inet_proto', 'inet_service'], value: ['ipv4_addr', 'inet_service'] }, [
      { key: ['tcp', 80], value: ['10.0.0.2', 8080] },
    ]),
  ],
  [
    'add element inet t s { "veth0" : jump c }',
    addElements({ ...s, key: 'ifname', value: 'verdict' }, [
      { key: 'veth0', value: { verdict: 'jump', chain: 'c' } },
    ]),
  ],
]

describe('elements', () => {
  test.each(elements)('%s', (command, operation) => {
    const [ours, theirs] = [messagesOf(operation), sent('operations', command)]
    expect(ours.map(({ type, flags }) => ({ type, flags }))).toEqual(
      theirs.map(({ type, flags }) => ({ type, flags })),
    )
    const [made, meant] = [ours, theirs].map((messages) =>
      messages.map(({ payload }) => ({
        ...elementListLayout.attributes.readFrom(new Reader(Buffer.from(payload, 'hex')), 4),
        setId: undefined,
      })),
    )
    expect(made).toEqual(meant)
  })

  test('a great many go in pieces that fit, no interval cut in two', () => {
    const interval = addElements(
      { ...addresses, interval: true },
      Array.from({ length: 5000 }, (_, i) => ({
        key: `10.${i >> 8}.${i & 255}.0/24`,
        comment: `number ${i}`,
      })),
    )
    const pieces = messagesOf(interval).map(
      ({ payload }) =>
        elementListLayout.attributes.readFrom(new Reader(Buffer.from(payload, 'hex')), 4).elements!,
    )
    expect(pieces.length).toBeGreaterThan(1)
    expect(pieces.flat()).toHaveLength(10_000)
    for (const piece of pieces) {
      expect(piece[0]!.flags).toBeUndefined()
      expect(piece.at(-1)!.flags).toBe(1)
    }
  })
})
