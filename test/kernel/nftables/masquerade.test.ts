import { expect, test } from 'vitest'
import { listRules } from '../../../netlink/nftables/index.ts'
import {
  addMasquerade,
  checkMasquerade,
  deleteMasquerade,
  gcMasquerade,
  masqueradeComment,
} from '../../../plugins/shared/masquerade-nftables.ts'
import { space } from '../../support/space.ts'
import { connect } from './connect.ts'

const eth0 = { network: 'net', ifName: 'eth0', containerId: 'one' }
const table = { family: 'inet', table: 'cni_plugins_masquerade' } as const

/** The text that nft prints for the reference plugin's rules and for ours. */
const ruleset = (...rules: string[]): string => `table inet cni_plugins_masquerade {
	comment "Masquerading for plugins from github.com/containernetworking/plugins"
	chain masq_checks {
		comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
${rules.map((rule) => `\t\t${rule}\n`).join('')}	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr 224.0.0.0/4 return
		ip6 daddr ff00::/8 return
		goto masq_checks
	}
}
`
const line = (address: string, subnet: string, owner = eth0): string => {
  const ip = address.includes(':') ? 'ip6' : 'ip'
  return `${ip} saddr ${address} ${ip} daddr != ${subnet} masquerade comment "${masqueradeComment(owner)}"`
}
const v4 = line('10.22.0.5', '10.22.0.0/16')

test('adds what the reference plugin adds', async () => {
  const host = await space()
  const connection = connect(host)
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16', 'fd00:1::5/64', '10.1.0.1/23'] })
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(
    ruleset(v4, line('fd00:1::5', 'fd00:1::/64'), line('10.1.0.1', '10.1.0.0/23')),
  )
})

test('adding again changes nothing', async () => {
  const host = await space()
  const connection = connect(host)
  const options = { ...eth0, addresses: ['10.22.0.5/16', 'fd00:1::5/64'] }
  await addMasquerade(connection, options)
  const before = await host.must('nft', ['-a', 'list', 'ruleset'])
  await addMasquerade(connection, options)
  expect(await host.must('nft', ['-a', 'list', 'ruleset'])).toBe(before)
})

test('what the same attachment left behind goes, what others have stays', async () => {
  const host = await space()
  const connection = connect(host)
  const other = { ...eth0, containerId: 'two' }
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.4/16', '10.22.0.5/16'] })
  await addMasquerade(connection, { ...other, addresses: ['10.22.0.5/16'] })
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(
    ruleset(v4, line('10.22.0.5', '10.22.0.0/16', other)),
  )
})

test('repairs the rules that lead to the masquerading', async () => {
  const host = await space()
  const connection = connect(host)
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })
  await host.must('nft', [
    'insert',
    'rule',
    'inet',
    table.table,
    'postrouting',
    'ip',
    'saddr',
    '1.2.3.4',
    'accept',
  ])
  expect(await checkMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })).toHaveLength(1)
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(ruleset(v4))
})

test('takes over what nft made of the same lines', async () => {
  const host = await space()
  const connection = connect(host)
  await host.must('nft', ['-f', '-'], { input: ruleset(v4) })
  const before = await host.must('nft', ['-a', 'list', 'ruleset'])
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })
  expect(await host.must('nft', ['-a', 'list', 'ruleset'])).toBe(before)
  expect(await checkMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16'] })).toEqual([])
})

test('deleting finds rules by their owner, whatever address, and leaves the chains', async () => {
  const host = await space()
  const connection = connect(host)
  const other = { ...eth0, ifName: 'eth1' }
  await addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5/16', 'fd00:1::5/64'] })
  await addMasquerade(connection, { ...other, addresses: ['10.22.0.6/16'] })
  await deleteMasquerade(connection, eth0)
  const rest = ruleset(line('10.22.0.6', '10.22.0.0/16', other))
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(rest)
  await deleteMasquerade(connection, eth0)
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(rest)
})

test('deleting where there is no table does nothing', async () => {
  const host = await space()
  const connection = connect(host)
  await deleteMasquerade(connection, eth0)
  await gcMasquerade(connection, 'net', [])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe('')
})

test('collects the rules of attachments that are gone, of this network only', async () => {
  const host = await space()
  const connection = connect(host)
  const gone = { ...eth0, containerId: 'gone' }
  const elsewhere = { ...gone, network: 'other' }
  for (const owner of [eth0, gone, elsewhere])
    await addMasquerade(connection, { ...owner, addresses: ['10.22.0.5/16'] })
  await gcMasquerade(connection, 'net', [{ containerId: 'one', ifName: 'eth0' }])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(
    ruleset(v4, line('10.22.0.5', '10.22.0.0/16', elsewhere)),
  )
})

test('checking names what is missing and changes nothing', async () => {
  const host = await space()
  const connection = connect(host)
  const options = { ...eth0, addresses: ['10.22.0.5/16'] }
  expect(await checkMasquerade(connection, options)).toEqual([
    expect.stringContaining('chain inet cni_plugins_masquerade postrouting'),
    expect.stringContaining('10.22.0.5/16'),
  ])
  expect(await host.must('nft', ['list', 'ruleset'])).toBe('')
  await addMasquerade(connection, options)
  expect(await checkMasquerade(connection, options)).toEqual([])
  expect(await checkMasquerade(connection, { ...eth0, addresses: ['10.22.0.9/16'] })).toEqual([
    expect.stringContaining('10.22.0.9/16'),
  ])
})

test('many at the same time end with one set of base rules', async () => {
  const host = await space()
  const owners = Array.from({ length: 20 }, (_, i) => ({ ...eth0, containerId: `c${i}` }))
  const connections = owners.map(() => connect(host))
  await Promise.all(
    owners.map((owner, i) => addMasquerade(connections[i]!, { ...owner, addresses: [`10.22.0.${i}/16`] })),
  )
  const rules = await connections[0]!.run(listRules(table))
  expect(rules.filter(({ chain }) => chain === 'postrouting')).toHaveLength(3)
  expect(rules.filter(({ chain }) => chain === 'masq_checks')).toHaveLength(20)
  await Promise.all(owners.map((owner, i) => deleteMasquerade(connections[i]!, owner)))
  expect(await host.must('nft', ['list', 'ruleset'])).toBe(ruleset())
})

test('an address without a prefix is refused before anything is done', async () => {
  const host = await space()
  const connection = connect(host)
  await expect(addMasquerade(connection, { ...eth0, addresses: ['10.22.0.5'] })).rejects.toThrow(RangeError)
  expect(await host.must('nft', ['list', 'ruleset'])).toBe('')
})
