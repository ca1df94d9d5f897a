/** The firewall plugin's rules as words and plans. */
import { describe, expect, test } from 'vitest'
import type { XtablesRule } from '../../../netlink/nftables/xtables.ts'
import { addressesOf } from '../../../plugins/firewall/conf.ts'
import type { Change, Listed, Lists } from '../../../plugins/firewall/filter.ts'
import { commandsOf, parseTable } from '../../../plugins/firewall/filter-iptables.ts'
import { parseRule, textOf, wordsOf } from '../../../plugins/firewall/filter-rule.ts'
import { networkKey, ownerKey, ownerText, zonedOwner } from '../../../plugins/firewall/owner.ts'
import { missingOf, planAdd, type Wanted } from '../../../plugins/firewall/plan.ts'
import { collectionOf, removalOf } from '../../../plugins/firewall/plan-removal.ts'

const tableOf = (text: string) => parseTable(text.split('\n').map((line) => line.trim()))

const shared = `
  -P FORWARD ACCEPT
  -N CNI-ADMIN
  -N CNI-FORWARD
  -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
  -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`

const owner = ownerText('net', { containerId: 'a', ifName: 'eth0' })
const other = ownerText('net', { containerId: 'b', ifName: 'eth0' })
const wanted: Wanted = {
  permits: 'marked',
  addresses: { 4: ['10.0.0.1/32'], 6: [] },
  owner,
  adminChain: 'CNI-ADMIN',
  isolation: undefined,
}
/** Changes as lines of iptables, on a table of these lines. */
const plan = (text: string, more: Partial<Wanted> = {}): string[] => {
  const table = tableOf(text)
  const changes = planAdd({ ...wanted, ...more })(4, table.lists)
  return commandsOf(table, changes).map((words) => words.join(' '))
}

describe('words', () => {
  test.each<[string, XtablesRule | undefined, boolean]>([
    ['-A X -s 10.0.0.1/32 -j ACCEPT', { source: '10.0.0.1/32', target: 'ACCEPT' }, false],
    [
      '-A X -i br0 ! -o br0 -m comment --comment "a \\"b\\" c" -j Y',
      { in: { name: 'br0' }, out: { name: 'br0', not: true }, comment: 'a "b" c', target: 'Y' },
      false,
    ],
    ['-A X -m comment --comment word -j RETURN', { comment: 'word', target: 'RETURN' }, true],
    ['-A X -m comment --comment "-j DROP"', { comment: '-j DROP' }, false],
    ['-A X -j DROP', { target: 'DROP' }, true],
    ['-A X -j REJECT --reject-with icmp-port-unreachable', undefined, true],
    ['-A X -s 10.0.0.0/8 -j ACCEPT', undefined, false],
    ['-A X ! -s 10.0.0.1/32 -j ACCEPT', undefined, false],
    ['-A X -p tcp -j DROP', undefined, false],
    ['-A X -m conntrack --ctstate NEW -j DROP', undefined, false],
    ['-A X -m', undefined, false],
  ])('%s', (line, rule, takesAll) => {
    expect(parseRule(line)).toEqual({ chain: 'X', rule, takesAll })
  })

  test('lines that are no rules', () => {
    for (const line of ['', '-N X', '-P FORWARD DROP']) expect(parseRule(line)).toBeUndefined()
  })

  test('what is written is read', () => {
    const rule = { source: '10.0.0.1/32', established: true, comment: 'a b', target: 'X' }
    expect(textOf(rule)).toBe(
      '-s 10.0.0.1/32 -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment "a b" -j X',
    )
    expect(parseRule(`-A Y ${textOf(rule)}`)?.rule).toEqual(rule)
    expect(wordsOf(rule)).toContain('a b')
  })
})

describe('ADD', () => {
  test('isolation comes before permits, wherever they are', () => {
    const isolation = { bridge: 'br0', policy: 'isolated' } as const
    const made = plan(shared, { permits: 'tagged', isolation })
    expect(made[1]).toMatch(/^-I FORWARD 1 .*-j CNI-ISOLATION-STAGE-1$/)
    const stage = '-P FORWARD ACCEPT\n-N CNI-ISOLATION-STAGE-1\n-A FORWARD -j CNI-ISOLATION-STAGE-1'
    // Behind the permits it would be for nothing: it moves, though this attachment needs it not.
    expect(plan(`${shared}\n${stage}`, { permits: 'tagged' }).slice(0, 2)).toEqual([
      '-D FORWARD -j CNI-ISOLATION-STAGE-1',
      expect.stringMatching(/^-I FORWARD 1 .*-j CNI-ISOLATION-STAGE-1$/),
    ])
    // The permits come behind it.
    expect(plan(stage, { permits: 'tagged' })).toContain(
      '-I FORWARD 2 -m comment --comment CNI firewall plugin rules -j CNI-FORWARD',
    )
  })

  test('a stage whose end is before its rules', () => {
    const isolation = { bridge: 'br0', policy: 'same-bridge' } as const
    const comment = '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge)"'
    const table = `${shared}
      -N CNI-ISOLATION-STAGE-1
      -N CNI-ISOLATION-STAGE-2
      -A CNI-ISOLATION-STAGE-1 -j RETURN
      -A CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 ${comment} -j CNI-ISOLATION-STAGE-2
      -A CNI-ISOLATION-STAGE-1 -i br1 ! -o br1 ${comment} -j CNI-ISOLATION-STAGE-2`
    expect(missingOf({ ...wanted, isolation }, 4, tableOf(table).lists).join()).toContain('for br0')
    const made = plan(table, { permits: 'elsewhere', addresses: { 4: [], 6: [] }, isolation })
    expect(made.filter((line) => line.includes('STAGE-1 ') && /^-[DI] CNI/.test(line))).toHaveLength(2)
    expect(made.join()).not.toContain('br1')
  })

  test('markers of owners whose permits others have removed go', () => {
    const stale = `${shared}
      -N LINKWRIGHT-OWNERS
      -A LINKWRIGHT-OWNERS -s 10.0.0.1/32 -m comment --comment "${other}"
      -A LINKWRIGHT-OWNERS -s 10.0.0.2/32 -m comment --comment "${other}"`
    expect(plan(stale).filter((line) => line.startsWith('-D'))).toEqual([
      `-D LINKWRIGHT-OWNERS -s 10.0.0.1/32 -m comment --comment ${other}`,
    ])
    expect(plan(`${stale}\n-A CNI-FORWARD -s 10.0.0.1/32 -j ACCEPT`).join()).not.toContain('-D')
  })
})

describe('what goes', () => {
  const permit = (address: string, owned?: string): Listed => ({
    ...{ rule: { source: address, target: 'ACCEPT' }, takesAll: false, handle: 1n },
    owner: owned,
    mentions: () => true,
  })
  const marker = (address: string, owned: string): Listed => ({
    ...{ rule: { source: address, comment: owned }, takesAll: false, handle: 1n, owner: undefined },
    mentions: () => true,
  })
  const lists: Lists = new Map([
    [
      'CNI-FORWARD',
      [
        permit('10.0.0.1/32', owner),
        permit('10.0.0.1/32'),
        permit('10.0.0.2/32', other),
        permit('10.0.0.2/32'),
        permit('10.0.0.3/32'),
        permit('10.0.0.4/32'),
      ],
    ],
    ['LINKWRIGHT-OWNERS', [marker('10.0.0.3/32', zonedOwner(owner, 'dmz')), marker('10.0.0.4/32', other)]],
  ])
  const indices = (changes: readonly Change[]) =>
    changes.map((change) => {
      const list = lists.get(change.chain) ?? []
      return `${change.chain} ${change.do === 'delete' ? list.indexOf(change.listed) : change.do}`
    })

  test("an attachment's own, and what nobody claims of its addresses", () => {
    const { changes, free, zones } = removalOf(lists, owner, ['10.0.0.2/32', '10.0.0.9/32'])
    expect(indices(changes)).toEqual([
      ...['CNI-FORWARD 0', 'LINKWRIGHT-OWNERS 0', 'CNI-FORWARD 1', 'CNI-FORWARD 4'],
    ])
    expect([...zones]).toEqual([['10.0.0.3/32', 'dmz']])
    expect(free).toEqual(['10.0.0.9/32', '10.0.0.1/32', '10.0.0.3/32'])
  })

  test("a network's, but for those that stay; not those of others", () => {
    expect(indices(collectionOf(lists, owner, [other]).changes)).toHaveLength(4)
    expect(collectionOf(lists, owner, [owner, other]).changes).toEqual([])
    const elsewhere = ownerText('x', { containerId: '', ifName: '' })
    expect(collectionOf(lists, elsewhere, []).changes).toEqual([])
  })
})

test('owners', () => {
  expect(owner).toMatch(/^[0-9a-f]{16}-[0-9a-f]{16}, net: net, if: eth0, id: a$/)
  expect(ownerKey(owner)).not.toBe(ownerKey(other))
  expect(networkKey(owner)).toBe(networkKey(other))
  expect(ownerText('n'.repeat(300), { containerId: 'c', ifName: 'eth0' }).length).toBeLessThanOrEqual(128)
})

test('addresses', () => {
  const interfaces = [{ name: 'br0' }, { name: 'eth0', sandbox: '/x' }, { name: 'net1', sandbox: '/x' }]
  const ips = [
    { address: '10.0.0.1/8', interface: 1 },
    { address: '10.0.0.1/16', interface: 1 },
    { address: '10.0.0.2/8', interface: 2 },
    { address: '10.0.0.3/8', interface: 0 },
    { address: 'fd00::1/64' },
  ]
  expect(addressesOf({ interfaces, ips })).toEqual({
    4: ['10.0.0.1/32', '10.0.0.2/32'],
    6: ['fd00::1/128'],
  })
})
