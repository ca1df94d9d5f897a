/** sbr, with an exchange that fails, or killed at every call that changes the kernel. */
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { attach, everything, mainRoutes, resultOf, sbr, twoNetworks, wires } from '../plugins/sbr.ts'
import { Patient } from './executed.ts'
import { type Fault, FaultyTransport } from './transport.ts'

const [eth0, net1] = wires

const cases: { fault: Fault; conf: JsonObject }[] = [
  { fault: 'unsent', conf: sbr() },
  { fault: 'unanswered', conf: sbr() },
  { fault: 'refused', conf: sbr({ addSourceHints: true }) },
]

test.each(cases)('every exchange of an ADD, $fault: $conf', async ({ conf, fault }) => {
  const { it, container } = await twoNetworks()
  const script = [
    'ip route add 198.51.100.0/24 via 10.2.0.1 dev net1 metric 7 mtu 1300',
    'ip route append 198.51.100.0/24 via 10.2.0.3 dev net1 metric 7',
    'ip -6 route add fd00:50::/64 nexthop via fd00:2::1 dev net1 nexthop via fd00:2::3 dev net1 weight 3',
  ]
  await container.must('sh', ['-ec', script.join('\n')])
  const look = async () => {
    const { rules, routes } = await everything(container)
    // Where only one of two alike has gone, it comes back before the other.
    return fault === 'refused' ? { rules, routes: routes.sort() } : { rules, routes }
  }
  const before = await look()
  for (let number = 1; ; number++) {
    const faulty = new FaultyTransport(fault, number)
    faulty.install()
    const error = await it.add(conf, attach(container, net1)).then(
      () => undefined,
      (failure: Error) => failure,
    )
    faulty.uninstall()
    if (!faulty.struck) {
      expect(error).toBeUndefined()
      await it.check(conf, attach(container, net1))
      // Three listings, and all changes in one datagram: as many requests as there are rules and routes.
      expect(number).toBeGreaterThan(fault === 'refused' ? 15 : 4)
      break
    }
    expect(error?.message, `${fault} ${number}`).toContain('ENOMEM')
    expect(error?.message, `${fault} ${number}`).not.toContain('could not be undone')
    expect(await look(), `${fault} ${number}: ${error?.message}`).toEqual(before)
  }
})

test('an executed ADD that is killed anywhere leaves nothing that DEL does not remove', {
  timeout: 60_000,
}, async () => {
  const { it: node, container } = await twoNetworks()
  const interfaces = [{ name: 'eth0', sandbox: container.sandbox }]
  const prevResult = { ...resultOf(container, eth0, { interfaces }), cniVersion: '1.0.0' }
  const it = new Patient(node.host, container, { conf: { type: 'sbr', ipam: undefined, prevResult } })
  const before = await everything(container)
  // Who makes the interface again gives it its routes again, those that reach gateways first.
  const routes = (await mainRoutes(container)).filter((line) => line.includes('eth0'))
  routes.sort((a, b) => Number(a.includes(' via ')) - Number(b.includes(' via ')))
  const script = routes.map((line) => `ip ${line.includes(':') ? '-6 ' : ''}route replace ${line}`).join('\n')
  const afterDel = async () => {
    const { status, error } = await it.run('DEL')
    expect({ status, error }).toEqual({ status: 0, error: null })
    expect(await rulesAndTables()).toEqual([])
    await container.must('sh', ['-ec', script])
  }
  const rulesAndTables = async () => {
    const { rules, routes: all } = await everything(container)
    return [...rules, ...all.filter((line) => / table 1\d\d\b/.test(line))]
  }
  const calls = await it.trace(['sendto', 'flock', 'write'])
  await afterDel()
  expect(calls.length).toBeGreaterThanOrEqual(5)
  const reached: string[] = []
  for (const call of calls) {
    expect((await it.tampered(call, 'signal=SIGKILL')).signal, call.text).toBe('SIGKILL')
    reached.push(...(await rulesAndTables()))
    await afterDel()
    expect((await everything(container)).routes.sort(), call.text).toEqual(before.routes.sort())
  }
  expect(reached).toContain('from 10.1.0.2 lookup 100')
  expect(reached).toContain('default via 10.1.0.1 dev eth0 table 100')
  const { error, result } = await it.run('ADD')
  expect(error).toBeNull()
  expect((await it.run('CHECK', { prevResult: result })).error).toBeNull()
})
