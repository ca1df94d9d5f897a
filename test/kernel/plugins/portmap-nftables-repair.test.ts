/** What others do to the nftables backend's rule set, and what it does about the reference's. */
import { expect, test } from 'vitest'
import { CniError } from '../../../cni/error.ts'
import { UndoStack } from '../../../cni/undo.ts'
import { addNftables, deleteNftables } from '../../../plugins/portmap/nftables.ts'
import { type Space, space } from '../../support/space.ts'
import { connect } from '../nftables/connect.ts'
import { add, del, elements, forwarding, missing, ruleset, tcp } from './portmap-nftables-setting.ts'

const one = forwarding()
const nft = (host: Space, line: string): Promise<string> =>
  host.must('nft', ['-f', '-'], { input: `${line}\n` })
const table = 'cni_hostport'

test.each([
  ['a base chain that calls nothing', `flush chain ip ${table} portmap_prerouting`, 'portmap_prerouting'],
  ['a base chain of IPv6', `flush chain ip6 ${table} portmap_output`, 'ip6 cni_hostport portmap_output'],
  [
    'a rule before ours',
    `insert rule ip ${table} portmap_output accept`,
    'the rule of chain ip cni_hostport portmap_output',
  ],
  ['the lookups', `flush chain ip ${table} portmap`, 'the rules of chain ip cni_hostport portmap'],
  ['a lookup twice', `add rule ip ${table} portmap drop`, 'the rules of chain ip cni_hostport portmap'],
  ['the masquerade', `flush chain ip ${table} portmap_snat`, 'portmap_snat_16'],
  ['the elements', `flush map ip6 ${table} portmap_any`, 'port 8080/tcp to [fd00::5]:80'],
  [
    'where an element leads',
    `delete element ip ${table} portmap_any { tcp . 8080 }; add element ip ${table} portmap_any { tcp . 8080 : 10.22.0.5 . 81 }`,
    'port 8080/tcp to 10.22.0.5:80: another attachment has it, port 8080/tcp to 10.22.0.5:81 (without a comment)',
  ],
  ['who is masqueraded', `flush set ip ${table} portmap_snat_8`, 'masquerade from the network 127.0.0.0'],
  ['everything of a family', `delete table ip ${table}`, 'of type nat at hook prerouting'],
  ['everything', 'flush ruleset', 'of type nat at hook output'],
])('CHECK misses %s, and another ADD makes it again', async (_, harm, words) => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const before = await ruleset(host)
  for (const line of harm.split('; ')) await nft(host, line)
  const found = await missing(connection, one)
  expect(found.join('\n')).toContain(words)
  for (const each of found) expect(each).toMatch(/^nftables: /)
  await add(connection, one)
  expect(await missing(connection, one)).toEqual([])
  expect((await ruleset(host)).split('\n').sort()).toEqual(before.split('\n').sort())
})

test('CHECK misses the list of elements', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const name = /portmap_of_\S+/.exec(await ruleset(host))![0]
  await nft(host, `flush set ip ${table} ${name}`)
  expect(await missing(connection, one)).toEqual([
    `nftables: set ip ${table} ${name}, the list of its elements`,
  ])
  await add(connection, one)
  expect(await missing(connection, one)).toEqual([])
})

test('conditions belong to networks that have them', async () => {
  const host = await space()
  const connection = connect(host)
  const conditional = forwarding({
    network: 'inner',
    containerId: 'two',
    addresses: ['10.22.0.6/16'],
    conditionsV4: ['ip', 'saddr', '{', '192.0.2.0/24,', '198.51.100.7', '}', 'iifname', '!=', '"eth*"'],
  })
  await add(connection, one)
  await add(connection, conditional)
  await add(connection, forwarding({ ...conditional, containerId: 'three', mappings: [tcp(3)] }))
  // Both keep the port: one for those that meet the conditions, one for all others.
  expect(await missing(connection, one)).toEqual([])
  expect((await missing(connection, conditional)).filter((words) => !words.includes('masquerade'))).toEqual(
    [],
  )
  const chain = await host.must('nft', ['list', 'chain', 'ip', table, 'portmap'])
  expect(chain.split('\n').slice(3, 6)).toEqual([
    expect.stringMatching(
      /^\t\tip saddr \{ 192\.0\.2\.0\/24, 198\.51\.100\.7 \} iifname != "eth\*" jump portmap_when_[0-9a-f]{16}$/,
    ),
    '\t\tdnat ip to ip daddr . meta l4proto . th dport map @portmap_hostip',
    '\t\tdnat ip to meta l4proto . th dport map @portmap_any',
  ])
  const when = /portmap_when_(\S+)/.exec(chain)![1]!
  expect(await elements(host, 'ip', `portmap_any_${when}`)).toEqual([
    'tcp . 3 : 10.22.0.6 . 80',
    'tcp . 8080 : 10.22.0.6 . 80',
  ])
  await nft(host, `flush chain ip ${table} portmap`)
  expect((await missing(connection, conditional)).join('\n')).toContain(`chain ip ${table} portmap_when_`)
  await add(connection, conditional)
  expect(await host.must('nft', ['list', 'chain', 'ip', table, 'portmap'])).toBe(chain)
  await del(connection, { ...conditional, conditionsV4: [] })
  expect(await elements(host, 'ip', `portmap_any_${when}`)).toEqual(['tcp . 3 : 10.22.0.6 . 80'])
})

test('changed conditions take an attachment from one map to another, and back', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const changed = forwarding({ conditionsV4: ['meta', 'mark', '7'] })
  await add(connection, changed)
  expect(await elements(host, 'ip', 'portmap_any')).toEqual([])
  expect(await missing(connection, changed)).toEqual([])
  const elsewhere = forwarding({ mappings: [tcp(8080, { containerPort: 81 })] })
  const undo = await add(connection, elsewhere)
  expect(await missing(connection, elsewhere)).toEqual([])
  expect((await missing(connection, changed)).length).toBe(2)
  expect(await undo.run()).toEqual([])
  expect(await missing(connection, changed)).toEqual([])
})

test('what is not understood is refused before anything is touched', async () => {
  const host = await space()
  const connection = connect(host)
  for (const wrong of [
    forwarding({ conditionsV4: ['ip', 'saddr', 'numgen'] }),
    forwarding({ conditionsV6: ['ip', 'saddr', '10.0.0.1'] }),
    forwarding({ addresses: ['10.22.0.5'] }),
    forwarding({ mappings: [tcp(1, { hostIp: 'nowhere' })] }),
  ]) {
    await expect(add(connection, wrong)).rejects.toSatisfy(
      (error) => (error instanceof CniError && error.code === 7) || error instanceof RangeError,
    )
    expect(await ruleset(host)).toBe('')
  }
})

test('somebody else’s chain of our name is an error, at once and without a trace', async () => {
  const host = await space()
  const connection = connect(host)
  await nft(host, `table ip ${table} { chain portmap_output { type filter hook input priority 5; }; }`)
  const before = await ruleset(host)
  const undo = new UndoStack()
  await expect(addNftables({ hostNftables: connection, undo }, one)).rejects.toThrow('portmap_output')
  expect(await undo.run()).toEqual([])
  expect(await ruleset(host)).toBe(before)
})

/** What the reference makes for a container, and what its ADD does to its chains for every other one. */
const reference = (id: string, ip: string, port: number): string => `
  add table ip ${table} { comment "CNI portmap plugin"; }
  add chain ip ${table} hostports
  add chain ip ${table} hostip_hostports
  add chain ip ${table} hostports_all
  flush chain ip ${table} hostports_all
  add rule ip ${table} hostports_all jump hostip_hostports
  add rule ip ${table} hostports_all jump hostports
  add chain ip ${table} prerouting { type nat hook prerouting priority -100; }
  flush chain ip ${table} prerouting
  add rule ip ${table} prerouting fib daddr type local jump hostports_all
  add chain ip ${table} output { type nat hook output priority -100; }
  flush chain ip ${table} output
  add rule ip ${table} output fib daddr type local jump hostports_all
  add chain ip ${table} masquerading { type nat hook postrouting priority 100; }
  add rule ip ${table} hostports tcp dport ${port} dnat to ${ip}:80 comment "${id}"
  add rule ip ${table} hostports ip daddr 192.0.2.1 tcp dport ${port} dnat to ${ip}:80 comment "${id}"
  add rule ip ${table} masquerading ip saddr ${ip} ip daddr ${ip} masquerade comment "${id}"
  add rule ip ${table} masquerading ip saddr 127.0.0.1 ip daddr ${ip} masquerade comment "${id}"
`

test('the reference’s rules of a container go with its DEL, those of its other networks and of others stay', async () => {
  const host = await space()
  const connection = connect(host)
  await nft(host, reference('one', '10.22.0.5', 8080))
  await nft(host, reference('one', '10.33.0.5', 8081))
  await nft(host, reference('two', '10.22.0.6', 8082))
  await add(connection, forwarding({ containerId: 'three', addresses: ['10.22.0.8/16'], mappings: [tcp(3)] }))
  const prevResult = {
    interfaces: [{ name: 'eth0', sandbox: '/run/netns/blue' }],
    ips: [{ address: '10.22.0.5/16', interface: 0 }],
  }
  await deleteNftables({ hostNftables: connection, prevResult, ifName: 'eth0' }, one)
  const left = await ruleset(host)
  expect(left).not.toContain('10.22.0.5')
  expect(left.match(/10\.33\.0\.5/g)?.length).toBe(5)
  expect(left.match(/10\.22\.0\.6/g)?.length).toBe(5)
  // Without its result there is nothing to tell them apart by; the reference does not either.
  await del(connection, one)
  expect(await ruleset(host)).not.toContain('10.33.0.5')
  expect((await ruleset(host)).match(/10\.22\.0\.6/g)?.length).toBe(5)
})

test('the reference’s ADD leaves our chains alone', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  await nft(host, reference('two', '10.22.0.6', 8081))
  expect(await missing(connection, one)).toEqual([])
  await del(connection, one)
  expect((await ruleset(host)).match(/10\.22\.0\.6/g)?.length).toBe(5)
})
