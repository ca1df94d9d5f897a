/** Many attachments at the same time: each gets its own, and none takes another's away. */
import { expect, test } from 'vitest'
import { binDirs, mustRunPlugin, type PrintedResult, runPlugin } from '../../support/plugin.ts'
import { type Container, type PrivateHost, privateHost } from '../../support/space.ts'
import { classic, errorOf, linkOf, node, unheard, vethsOf } from './node.ts'

const MANY = 50
const numbers = Array.from({ length: MANY }, (_, i) => i)

const containersOf = async (host: PrivateHost): Promise<Container[]> => {
  const made: Container[] = []
  for (const i of numbers) made.push(await host.container(`c${i}`))
  return made
}

const addressOf = ({ ips }: PrintedResult): string => ips![0]!.address.split('/')[0]!

/** Those of the addresses that do not answer the host. */
const silent = async (host: PrivateHost, addresses: readonly string[]): Promise<string[]> => {
  const script = 'for ip; do ping -nqc1 -W2 "$ip" >/dev/null || echo "$ip"; done'
  return (await host.must('sh', ['-c', script, 'sh', ...addresses])).split('\n').filter(Boolean)
}

const leftOvers = async (host: PrivateHost): Promise<string[]> => {
  const script = 'ip -o link show type veth; nft list ruleset; ls /var/lib/cni/networks/net'
  const lines = (await host.must('sh', ['-c', script])).split('\n')
  return lines.filter((line) => /veth|saddr|^10\./.test(line))
}

test('50 executed ADDs, with processes of the Go host-local taking addresses from the same directory', async () => {
  const host = await privateHost()
  const containers = await containersOf(host)
  const conf = { cniVersion: '1.0.0', name: 'net', type: 'bridge', ...classic }
  const call = { host, conf }
  const ours = numbers.map((i) =>
    mustRunPlugin({
      ...call,
      binDir: binDirs.ours,
      type: 'bridge',
      command: 'ADD',
      containerId: `c${i}`,
      netns: containers[i],
    }),
  )
  const theirs = numbers.slice(0, 25).map((i) =>
    mustRunPlugin({
      ...call,
      binDir: binDirs.go,
      type: 'host-local',
      command: 'ADD',
      containerId: `go${i}`,
      netns: '/run/netns/none',
    }),
  )
  const results = await Promise.all(ours)
  const taken = (await Promise.all(theirs)).map(addressOf)
  const addresses = results.map(addressOf)
  expect(new Set([...addresses, ...taken]).size).toBe(MANY + taken.length)
  expect(await silent(host, addresses)).toEqual([])
  expect(await containers[7]!.ping(addresses[43]!)).toBe(true)
  // All report the one bridge that there is.
  expect(new Set(results.map(({ interfaces }) => interfaces?.[0]?.mac))).toEqual(
    new Set([(await linkOf(host, 'cni0')).address]),
  )
  const dels = await Promise.all(
    numbers.map((i) =>
      runPlugin({
        ...call,
        conf: { ...conf, prevResult: results[i] },
        binDir: binDirs.ours,
        type: 'bridge',
        command: 'DEL',
        containerId: `c${i}`,
        netns: containers[i],
      }),
    ),
  )
  expect(dels.filter(({ status }) => status !== 0)).toEqual([])
  expect((await leftOvers(host)).sort()).toEqual(taken.sort())
})

test('50 ADDs and DELs in one process', async () => {
  const it = await node()
  const containers = await containersOf(it.host)
  const of = (i: number) => ({ container: containers[i], containerId: `c${i}` })
  const results = await Promise.all(numbers.map((i) => it.add(classic, of(i))))
  expect(new Set(results.map(addressOf)).size).toBe(MANY)
  expect(await silent(it.host, results.map(addressOf))).toEqual([])
  await Promise.all(numbers.map((i) => it.del(classic, { ...of(i), prevResult: results[i] })))
  expect(await leftOvers(it.host)).toEqual([])
})

test('ADDs that fail beside others that do not take nothing away from them', async () => {
  const it = await node()
  const containers = await containersOf(it.host)
  const fails = (i: number): boolean => i % 2 === 0
  const outcomes = await Promise.all(
    numbers.map(async (i) => {
      const call = { container: containers[i], containerId: `c${i}` }
      if (!fails(i)) return addressOf(await it.add(classic, call))
      const error = await errorOf(it.add(classic, { ...call, deliver: unheard }))
      expect(error.message).toBe('nobody listens')
      return null
    }),
  )
  const addresses = outcomes.filter((address) => address !== null)
  expect(new Set(addresses).size).toBe(MANY / 2)
  expect(await silent(it.host, addresses)).toEqual([])
  for (const i of [1, 25, 49]) expect(await containers[i]!.ping('10.22.0.1')).toBe(true)
  expect(await vethsOf(it.host)).toHaveLength(MANY / 2)
  expect((await leftOvers(it.host)).filter((line) => line.includes('saddr'))).toHaveLength(MANY / 2)
})

test('ADDs and DELs that chase each other', async () => {
  const it = await node()
  const containers = await containersOf(it.host)
  await Promise.all(
    numbers.map(async (i) => {
      const call = { container: containers[i], containerId: `c${i}` }
      for (let round = 0; round < 3; round++) {
        const prevResult = await it.add(classic, call)
        await it.check(classic, { ...call, prevResult })
        await it.del(classic, { ...call, prevResult })
      }
    }),
  )
  expect(await leftOvers(it.host)).toEqual([])
})
