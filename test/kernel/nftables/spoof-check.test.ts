import { expect, test } from 'vitest'
import {
  addSpoofCheck,
  checkSpoofCheck,
  deleteSpoofCheck,
  gcSpoofCheck,
  type SpoofCheck,
} from '../../../plugins/shared/spoof-check.ts'
import { privateHost, type Space, space } from '../../support/space.ts'
import { connect } from './connect.ts'

const one: SpoofCheck = {
  containerId: 'one',
  ifName: 'eth0',
  hostInterface: 'veth1',
  mac: '02:00:00:00:00:01',
}
const two: SpoofCheck = { ...one, containerId: 'two', hostInterface: 'veth2', mac: '02:00:00:00:00:02' }

/** What nft prints, chains in the order in which they were made. */
const ruleset = (entries: readonly SpoofCheck[], chains: readonly SpoofCheck[] = entries): string => {
  const id = ({ containerId, ifName }: SpoofCheck) => `${containerId}-${ifName}`
  const lines = [
    'table bridge nat {',
    '\tchain PREROUTING {',
    '\t\ttype filter hook prerouting priority dstnat; policy accept;',
  ]
  for (const each of entries)
    lines.push(
      `\t\tiifname "${each.hostInterface}" jump cni-br-iface-${id(each)} comment "macspoofchk-${id(each)}"`,
    )
  lines.push('\t}')
  for (const each of chains) {
    const comment = `comment "macspoofchk-${id(each)}"`
    lines.push(
      '',
      `\tchain cni-br-iface-${id(each)} {`,
      `\t\tjump cni-br-iface-${id(each)}-mac ${comment}`,
      '\t}',
    )
    lines.push('', `\tchain cni-br-iface-${id(each)}-mac {`, `\t\tether saddr ${each.mac} return ${comment}`)
    lines.push(`\t\tdrop ${comment}`, '\t}')
  }
  return [...lines, '}', ''].join('\n')
}
const list = (host: Space, ...flags: string[]): Promise<string> =>
  host.must('nft', [...flags, 'list', 'ruleset'])

test('makes what the reference plugin makes', async () => {
  const host = await space()
  const connection = connect(host)
  await addSpoofCheck(connection, one)
  await addSpoofCheck(connection, two)
  expect(await list(host)).toBe(ruleset([one, two]))
  expect(await checkSpoofCheck(connection, one)).toEqual([])
})

test('adding again makes no rule twice, another port and address replace the old', async () => {
  const host = await space()
  const connection = connect(host)
  await addSpoofCheck(connection, one)
  await addSpoofCheck(connection, one)
  expect(await list(host)).toBe(ruleset([one]))
  const moved = { ...one, hostInterface: 'veth9', mac: '02:00:00:00:00:09' }
  await addSpoofCheck(connection, moved)
  expect(await list(host)).toBe(ruleset([moved]))
})

test('doubled rules of the reference plugin become one', async () => {
  const host = await space()
  const connection = connect(host)
  await host.must('nft', ['-f', '-'], { input: ruleset([one]) })
  await host.must('nft', ['-f', '-'], { input: ruleset([one], []).replace(/(type .*)/, '') })
  await addSpoofCheck(connection, one)
  expect(await list(host)).toBe(ruleset([one]))
})

test('deleting removes one check and leaves the others, the table and the base chain', async () => {
  const host = await space()
  const connection = connect(host)
  await addSpoofCheck(connection, one)
  await addSpoofCheck(connection, two)
  await deleteSpoofCheck(connection, one)
  expect(await list(host)).toBe(ruleset([two]))
  await deleteSpoofCheck(connection, one)
  await deleteSpoofCheck(connection, two)
  expect(await list(host)).toBe(ruleset([]))
})

test('deleting where there is nothing does nothing', async () => {
  const host = await space()
  const connection = connect(host)
  await deleteSpoofCheck(connection, one)
  await gcSpoofCheck(connection, [], async () => new Set())
  expect(await list(host)).toBe('')
})

test('deleting clears up what was left half way', async () => {
  const host = await space()
  const connection = connect(host)
  await addSpoofCheck(connection, one)
  await host.must('nft', ['flush', 'chain', 'bridge', 'nat', 'PREROUTING'])
  await host.must('nft', ['flush', 'chain', 'bridge', 'nat', 'cni-br-iface-one-eth0'])
  await host.must('nft', ['delete', 'chain', 'bridge', 'nat', 'cni-br-iface-one-eth0'])
  await deleteSpoofCheck(connection, one)
  expect(await list(host)).toBe(ruleset([]))
})

test('collects what belongs to nobody: not valid, and its port gone', async () => {
  const host = await space()
  const connection = connect(host)
  const three = { ...one, containerId: 'three', hostInterface: 'veth3' }
  const orphan = { ...one, containerId: 'orphan', hostInterface: 'veth4' }
  for (const each of [one, two, three]) await addSpoofCheck(connection, each)
  await host.must('nft', ['-f', '-'], { input: ruleset([], [orphan]) })
  await gcSpoofCheck(connection, [two], async () => new Set(['lo', 'veth3']))
  expect(await list(host)).toBe(ruleset([two, three]))
})

test('checking names what is missing and changes nothing', async () => {
  const host = await space()
  const connection = connect(host)
  expect(await checkSpoofCheck(connection, one)).toHaveLength(4)
  expect(await list(host)).toBe('')
  await addSpoofCheck(connection, one)
  expect(await checkSpoofCheck(connection, { ...one, mac: '02:00:00:00:00:07' })).toEqual([
    expect.stringContaining('02:00:00:00:00:07'),
  ])
  expect(await checkSpoofCheck(connection, { ...one, hostInterface: 'veth7' })).toEqual([
    expect.stringContaining('veth7'),
  ])
})

test('a name that is longer than nft takes for a comment works', async () => {
  const host = await space()
  const connection = connect(host)
  const long = { ...one, containerId: 'c'.repeat(140) }
  await addSpoofCheck(connection, long)
  await addSpoofCheck(connection, long)
  expect(await checkSpoofCheck(connection, long)).toEqual([])
  await deleteSpoofCheck(connection, long)
  expect(await list(host)).toBe(ruleset([]))
})

test('frames with another source address do not pass', async () => {
  const host = await privateHost()
  const container = await host.container()
  await host.ip('link', 'add', 'br0', 'type', 'bridge')
  await host.ip('link', 'add', 'veth1', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', container.sandbox)
  await host.ip('addr', 'add', '10.9.0.1/24', 'dev', 'br0')
  await host.ip('link', 'set', 'veth1', 'master', 'br0', 'up')
  await host.ip('link', 'set', 'br0', 'up')
  await container.ip('link', 'set', 'eth0', 'address', one.mac, 'up')
  await container.ip('addr', 'add', '10.9.0.2/24', 'dev', 'eth0')
  const connection = connect(host)
  await addSpoofCheck(connection, one)
  expect(await container.ping('10.9.0.1', 5)).toBe(true)
  await container.ip('link', 'set', 'eth0', 'address', '02:00:00:00:00:66')
  expect(await container.ping('10.9.0.1', 1)).toBe(false)
  await deleteSpoofCheck(connection, one)
  expect(await container.ping('10.9.0.1', 5)).toBe(true)
})
