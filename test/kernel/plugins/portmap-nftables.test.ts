/** The rule set of the nftables backend: what ADD makes, what CHECK misses, what DEL and GC leave. */
import { expect, test } from 'vitest'
import { UndoStack } from '../../../cni/undo.ts'
import { binding } from '../../../native/binding.ts'
import type { Transport } from '../../../netlink/index.ts'
import type { PortMapping } from '../../../plugins/portmap/forwarding.ts'
import { addNftables, gcNftables } from '../../../plugins/portmap/nftables.ts'
import { ownerComment } from '../../../plugins/portmap/nftables-elements.ts'
import { space } from '../../support/space.ts'
import { connect } from '../nftables/connect.ts'
import { add, del, elements, forwarding, missing, ruleset, tcp } from './portmap-nftables-setting.ts'

const one = forwarding()
const two = forwarding({ containerId: 'two', addresses: ['10.22.0.6/16'] })
const comment = ownerComment(one)

/** The IPv4 table as nft prints it with {@link one}'s mapping, and another of one address. */
const table = `table ip cni_hostport {
	comment "CNI portmap plugin"
	map portmap_hostip {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		comment "Ports of one address of this host"
		elements = { 192.0.2.1 . udp . 53 comment "${comment}" : 10.22.0.5 . 5353 }
	}

	map portmap_any {
		type inet_proto . inet_service : ipv4_addr . inet_service
		comment "Ports of all addresses of this host"
		elements = { tcp . 8080 comment "${comment}" : 10.22.0.5 . 80 }
	}

	set portmap_snat_16 {
		type ipv4_addr . ipv4_addr
		comment "Network of the sender, and container"
		elements = { 10.22.0.0 . 10.22.0.5 comment "${comment}" }
	}

	set portmap_snat_8 {
		type ipv4_addr . ipv4_addr
		comment "Network of the sender, and container"
		elements = { 127.0.0.0 . 10.22.0.5 comment "${comment}" }
	}
`
const chains = `	chain portmap {
		comment "Port mappings: where ports of this host lead to"
		dnat ip to ip daddr . meta l4proto . th dport map @portmap_hostip
		dnat ip to meta l4proto . th dport map @portmap_any
	}

	chain portmap_snat {
		comment "Port mappings: connections whose answers have to come back this way"
		ip saddr & 255.255.0.0 . ip daddr @portmap_snat_16 masquerade
		ip saddr & 255.0.0.0 . ip daddr @portmap_snat_8 masquerade
	}

	chain portmap_prerouting {
		type nat hook prerouting priority dstnat + 1; policy accept;
		fib daddr type local goto portmap
	}

	chain portmap_output {
		type nat hook output priority -99; policy accept;
		fib daddr type local goto portmap
	}

	chain portmap_postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ct status dnat goto portmap_snat
	}
}
`

test('ADD makes maps and fixed chains, which nft prints and takes back', async () => {
  const host = await space()
  const connection = connect(host)
  const wanted = forwarding({
    mappings: [tcp(8080), { hostPort: 53, containerPort: 5353, protocol: 'udp', hostIp: '192.0.2.1' }],
  })
  await add(connection, wanted)
  const v4 = await host.must('nft', ['list', 'table', 'ip', 'cni_hostport'])
  expect(v4.startsWith(table)).toBe(true)
  expect(v4.endsWith(chains)).toBe(true)
  expect(await elements(host, 'ip6', 'portmap_hostip')).toEqual([])
  expect(await elements(host, 'ip6', 'portmap_any')).toEqual(['tcp . 8080 : fd00::5 . 80'])
  expect(await elements(host, 'ip6', 'portmap_snat_64')).toEqual(['fd00:: . fd00::5'])
  // What the kernel refuses to route is not translated: a client of ::1 goes on to 127.0.0.1.
  expect(await ruleset(host)).toContain('ip6 daddr != ::1 fib daddr type local goto portmap')
  expect(await missing(connection, wanted)).toEqual([])

  const text = await ruleset(host)
  expect(await host.nftJson('list', 'ruleset')).not.toEqual([])
  await host.must('nft', ['flush', 'ruleset'])
  expect(await missing(connection, wanted)).not.toEqual([])
  await host.must('nft', ['-f', '-'], { input: text })
  expect(await missing(connection, wanted)).toEqual([])
  await del(connection, wanted)
  expect(await ruleset(host)).not.toContain('elements')
})

test('adding again changes nothing; other mappings take the place of those before', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const before = await host.must('nft', ['-a', 'list', 'ruleset'])
  await add(connection, one)
  expect(await host.must('nft', ['-a', 'list', 'ruleset'])).toBe(before)

  const next = forwarding({ addresses: ['10.22.0.7/24'], mappings: [tcp(8081, { hostIp: '192.0.2.1' })] })
  const undo = await add(connection, next)
  expect(await missing(connection, next)).toEqual([])
  expect(await elements(host, 'ip', 'portmap_any')).toEqual([])
  expect(await elements(host, 'ip', 'portmap_snat_16')).toEqual([])
  expect(await elements(host, 'ip6', 'portmap_any')).toEqual([])
  expect(await ruleset(host)).toContain('ip saddr & 255.255.255.0 . ip daddr @portmap_snat_24 masquerade')
  expect(await undo.run()).toEqual([])
  expect(await missing(connection, one)).toEqual([])
  expect(await elements(host, 'ip', 'portmap_hostip')).toEqual([])
})

test('a failed ADD leaves nothing but the empty tables', async () => {
  const host = await space()
  const connection = connect(host)
  const undo = await add(connection, one)
  expect(await undo.run()).toEqual([])
  const left = await ruleset(host)
  expect(left).not.toContain('elements')
  expect(left).not.toContain('portmap_of_')
})

test('snat: everything with masqAll, nothing without it', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, forwarding({ masqAll: true }))
  expect(await elements(host, 'ip', 'portmap_snat_0')).toEqual(['10.22.0.5'])
  expect(await ruleset(host)).toContain('ip6 daddr @portmap_snat_0 masquerade')
  expect(await missing(connection, forwarding({ masqAll: true }))).toEqual([])
  await add(connection, forwarding({ snat: false }))
  expect(await elements(host, 'ip', 'portmap_snat_0')).toEqual([])
  expect(await missing(connection, forwarding({ snat: false }))).toEqual([])
})

test('mappings of the other family and of no address are left out', async () => {
  const host = await space()
  const connection = connect(host)
  const wanted = forwarding({
    addresses: ['10.22.0.5/32'],
    mappings: [
      tcp(1, { hostIp: '::' }),
      tcp(2, { hostIp: '0.0.0.0' }),
      tcp(3, { hostIp: '::ffff:192.0.2.1' }),
      tcp(4, { protocol: 'sctp', containerPort: 65_535 }),
    ],
  })
  await add(connection, wanted)
  expect(await elements(host, 'ip', 'portmap_any')).toEqual([
    'sctp . 4 : 10.22.0.5 . 65535',
    'tcp . 2 : 10.22.0.5 . 80',
  ])
  expect(await elements(host, 'ip', 'portmap_hostip')).toEqual(['192.0.2.1 . tcp . 3 : 10.22.0.5 . 80'])
  expect(await elements(host, 'ip', 'portmap_snat_32')).toEqual(['10.22.0.5 . 10.22.0.5'])
  expect(await ruleset(host)).not.toContain('table ip6')
  expect(await missing(connection, wanted)).toEqual([])
})

test('the last one gets a port; a late DEL of the one before does not take it, a failed ADD gives it back', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const undo = await add(connection, two)
  expect(await elements(host, 'ip', 'portmap_any')).toEqual(['tcp . 8080 : 10.22.0.6 . 80'])
  expect(await missing(connection, two)).toEqual([])
  expect(await missing(connection, one)).toEqual([
    `nftables: port 8080/tcp to 10.22.0.5:80: another attachment has it, port 8080/tcp to 10.22.0.6:80 (${ownerComment(two)})`,
  ])
  expect(await undo.run()).toEqual([])
  expect(await missing(connection, one)).toEqual([])
  expect(await missing(connection, two)).not.toEqual([])

  await add(connection, two)
  await del(connection, one)
  expect(await missing(connection, two)).toEqual([])
  expect(await del(connection, one)).toEqual([])
  expect(await missing(connection, two)).toEqual([])
  expect(await elements(host, 'ip6', 'portmap_any')).toEqual([])
})

test('a failed ADD does not give a port back to a container that has gone meanwhile', async () => {
  const host = await space()
  const connection = connect(host)
  await add(connection, one)
  const undo = await add(connection, two)
  await del(connection, one)
  expect(await undo.run()).toEqual([])
  expect(await ruleset(host)).not.toMatch(/elements|portmap_of_/)
})

test('what is missing is made again without taking what others have by now', async () => {
  const host = await space()
  const connection = connect(host)
  const both = forwarding({ mappings: [tcp(8080), tcp(8081)] })
  await add(connection, both)
  await add(connection, two)
  await host.must('nft', ['delete', 'element', 'ip', 'cni_hostport', 'portmap_any', '{ tcp . 8081 }'])
  expect((await missing(connection, both)).length).toBe(2)
  await addNftables({ hostNftables: connection, undo: new UndoStack() }, both, { takeOver: false })
  expect(await elements(host, 'ip', 'portmap_any')).toEqual([
    'tcp . 8080 : 10.22.0.6 . 80',
    'tcp . 8081 : 10.22.0.5 . 80',
  ])
  expect((await missing(connection, both)).length).toBe(1)
  await del(connection, both)
  expect(await missing(connection, two)).toEqual([])
})

test('what somebody changed since is not undone', async () => {
  const host = await space()
  const connection = connect(host)
  const undo = await add(connection, one)
  await add(connection, two)
  expect(await undo.run()).toEqual([])
  expect(await missing(connection, two)).toEqual([])
  await host.must('nft', ['flush', 'ruleset'])
  const again = await add(connection, one)
  await host.must('nft', ['flush', 'ruleset'])
  expect(await again.run()).toEqual([])
  expect(await ruleset(host)).toBe('')
})

test('DEL knows what to remove without being told, and says it', async () => {
  const host = await space()
  const connection = connect(host)
  expect(await del(connection, one)).toEqual([])
  expect(await ruleset(host)).toBe('')
  await add(connection, forwarding({ mappings: [tcp(53, { protocol: 'udp', hostIp: '192.0.2.1' })] }))
  await add(connection, two)
  const removed = await del(connection, forwarding({ addresses: [], mappings: [], snat: false }))
  expect(removed).toEqual([{ hostPort: 53, containerPort: 80, protocol: 'udp', hostIp: '192.0.2.1' }])
  expect(await elements(host, 'ip', 'portmap_hostip')).toEqual([])
  expect(await elements(host, 'ip', 'portmap_snat_16')).toEqual(['10.22.0.0 . 10.22.0.6'])
  expect(await missing(connection, two)).toEqual([])
})

test('GC removes what is of the network and of nobody who is left, and conditions that nobody has', async () => {
  const host = await space()
  const connection = connect(host)
  const conditional = { conditionsV4: ['ip', 'saddr', '192.0.2.0/24'], conditionsV6: ['meta', 'mark', '1'] }
  const three = forwarding({ containerId: 'three', mappings: [tcp(3)], ...conditional })
  const four = forwarding({ containerId: 'four', network: 'other', mappings: [tcp(4)], ...conditional })
  const second = forwarding({ ifName: 'eth1', mappings: [tcp(5)], addresses: ['10.22.0.9/16'] })
  await gcNftables({ hostNftables: connection }, 'net', [])
  expect(await ruleset(host)).toBe('')
  for (const each of [one, two, three, four, second]) await add(connection, each)
  await gcNftables({ hostNftables: connection }, 'net', [two, second])
  expect(await missing(connection, two)).toEqual([])
  expect(await missing(connection, second)).toEqual([])
  expect((await missing(connection, four)).filter((words) => !words.includes('masquerade'))).toEqual([])
  const text = await ruleset(host)
  expect(text).not.toContain(ownerComment(one))
  expect(text).not.toContain(ownerComment(three))
  expect(text).toContain('ip saddr 192.0.2.0/24 jump portmap_when_')

  await gcNftables({ hostNftables: connection }, 'other', [])
  expect(await ruleset(host)).not.toMatch(/portmap_when_|portmap_any_|portmap_hostip_/)
  await gcNftables({ hostNftables: connection }, 'net', [])
  expect(await ruleset(host)).not.toMatch(/elements|portmap_of_/)
})

const many = (count: number, mappings: (i: number) => PortMapping[]) =>
  Array.from({ length: count }, (_, i) =>
    forwarding({ containerId: `c${i}`, addresses: [`10.22.1.${i + 1}/16`], mappings: mappings(i) }),
  )

test('forty at the same time, each with a port of its own', async () => {
  const host = await space()
  const connections = Array.from({ length: 8 }, () => connect(host))
  const all = many(40, (i) => [tcp(i + 1)])
  await Promise.all(all.map((each, i) => add(connections[i % connections.length]!, each)))
  for (const each of all) expect(await missing(connections[0]!, each)).toEqual([])
  const rules = await host.must('nft', ['list', 'chain', 'ip', 'cni_hostport', 'portmap_snat'])
  // Made once, though all have found it missing.
  expect(rules.match(/masquerade/g)?.length).toBe(2)
  await Promise.all(all.map((each, i) => del(connections[i % connections.length]!, each)))
  expect(await ruleset(host)).not.toMatch(/elements|portmap_of_/)
})

test('ten that want the same port: one has it, and the lists agree', async () => {
  const host = await space()
  const connections = Array.from({ length: 5 }, () => connect(host))
  const all = many(10, (i) => [tcp(i + 1), tcp(8080)])
  await Promise.all(all.map((each, i) => add(connections[i % connections.length]!, each)))
  const words = await Promise.all(all.map((each) => missing(connections[0]!, each)))
  expect(words.map(({ length }) => length).sort()).toEqual([0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
  const text = await host.must('nft', ['list', 'table', 'ip', 'cni_hostport'])
  expect(text.match(/0\.0\.0\.0 \. tcp \. 8080 \./g)?.length).toBe(1)
  await Promise.all(all.map((each, i) => del(connections[i % connections.length]!, each)))
  expect(await ruleset(host)).not.toMatch(/elements|portmap_of_/)
})

/** Exchanges with the kernel, and the bytes it has answered. */
const counted = () => {
  const sum = { exchanges: 0, bytes: 0 }
  const { transactSync, transact } = binding()
  const transport: Transport = {
    transactSync,
    transact: async (...call) => {
      const answer = await transact(...call)
      sum.exchanges += 1
      sum.bytes += answer.length
      return answer
    },
  }
  return { sum, transport }
}

test('5000 mappings of others: the same rules, the same questions, the same answers', async () => {
  const host = await space()
  const others = connect(host)
  const { sum, transport } = counted()
  const connection = connect(host, { transport })
  /** What ADD, CHECK and DEL take. */
  const costs = async () => {
    const all: (typeof sum)[] = []
    for (const verb of [add, missing, del]) {
      Object.assign(sum, { exchanges: 0, bytes: 0 })
      await verb(connection, one)
      all.push({ ...sum })
    }
    return all
  }
  await add(others, one)
  await del(others, one)
  const before = await costs()
  // The rules of both families, what is at the places, the transaction.
  expect(before.map(({ exchanges }) => exchanges)).toEqual([4, 7, 7])
  const rules = () => host.must('nft', ['-s', 'list', 'chain', 'ip', 'cni_hostport', 'portmap'])
  const few = await rules()
  const big = forwarding({
    containerId: 'many',
    addresses: ['10.22.0.8/16'],
    mappings: Array.from({ length: 5000 }, (_, i) => tcp(10_000 + i)),
  })
  await add(others, big)
  expect(await missing(others, big)).toEqual([])
  expect(await rules()).toBe(few)
  expect(await costs()).toEqual(before)
  expect((await del(others, big)).length).toBe(5000)
  expect(await ruleset(host)).not.toContain('10.22.0.8')
})
