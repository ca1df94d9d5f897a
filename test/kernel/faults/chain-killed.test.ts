/** `linkwright add` of a chain is killed wherever it changes anything; `linkwright del` removes what there is. */
import { expect, test } from 'vitest'
import { containerScript, hostScript, listOf, portMappings } from './chain.ts'
import { type Call, type Patient, patient } from './executed.ts'

const look = async ({ host, container }: Patient): Promise<string[]> =>
  [
    ...(await host.must('sh', ['-c', hostScript])).split('\n'),
    ...(await container.must('sh', ['-c', containerScript])).split('\n'),
  ].sort()

/** What a message asks for is at its beginning; batches of nf_tables are transactions. */
const changes = ({ name, text }: Call): boolean =>
  name !== 'sendto' || /RTM_(NEW|DEL|SET)|BATCH_BEGIN/.test(text)

test('killed', { timeout: 180_000 }, async () => {
  const it = await patient({ list: { text: listOf(), capabilityArgs: { portMappings } } })
  for (const place of [it.host, it.container])
    await place.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
  // The bridge stays up where another interface is plugged in.
  await it.host.ip('link', 'add', 'cni0', 'up', 'type', 'bridge')
  await it.host.ip('link', 'add', 'plug', 'up', 'type', 'veth', 'peer', 'name', 'socket')
  await it.host.ip('link', 'set', 'socket', 'up', 'master', 'cni0')
  expect(await it.run('ADD')).toMatchObject({ status: 0 })
  expect(await it.run('DEL')).toMatchObject({ status: 0 })
  const before = await look(it)
  const calls = (await it.trace(['sendto', 'pwrite64', 'rename', 'link'])).filter(changes)
  expect(await it.run('DEL')).toMatchObject({ status: 0 })
  expect(await look(it)).toEqual(before)
  // The pair, the addresses, four rule sets, limits, a table, a reservation, a backup, the cache.
  expect(calls.length).toBeGreaterThan(10)
  const reached = new Set<string>()
  for (const call of calls) {
    const where = `${call.name} ${call.count} ${call.text}`
    expect((await it.tampered(call, 'signal=SIGKILL')).signal, where).toBe('SIGKILL')
    for (const line of await look(it)) if (!before.includes(line)) reached.add(line)
    expect(await it.run('DEL'), where).toMatchObject({ status: 0, error: null })
    expect(await look(it), where).toEqual(before)
  }
  const lines = [...reached].join('\n')
  for (const sign of [/veth/, /bwp/, /tbf/, /8080/, /masquerade/, /lookup 100/, /tuning\/cid-1_eth0/])
    expect(lines).toMatch(sign)
  const { status, result } = await it.run('ADD')
  expect({ status, ips: result?.ips?.length }).toEqual({ status: 0, ips: 2 })
  expect(await it.run('CHECK')).toMatchObject({ status: 0 })
  expect(await it.run('DEL')).toMatchObject({ status: 0 })
  expect(await look(it)).toEqual(before)
})
