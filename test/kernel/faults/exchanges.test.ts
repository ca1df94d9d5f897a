/** Every netlink exchange of an ADD in process fails once, in every way: the host is as it was before. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { settled } from '../../support/wait.ts'
import { factsOf, type Node, node } from '../plugins/node.ts'
import { type Fault, FaultyTransport } from './transport.ts'

const routed: JsonObject = {
  bridge: 'cni0',
  isGateway: true,
  ipMasq: true,
  macspoofchk: true,
  hairpinMode: true,
  ipam: {
    type: 'host-local',
    ranges: [[{ subnet: '10.22.0.0/16' }], [{ subnet: 'fd00:22::/64' }]],
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }],
  },
}

const rulesOf = async ({ host }: Node): Promise<string[]> =>
  (await host.must('nft', ['list', 'ruleset'])).split('\n').filter((line) => /saddr|cni-br-iface/.test(line))
const filesOf = async ({ host }: Node): Promise<string> =>
  (await host.run('sh', ['-c', "find /var/lib/cni -type f -name '*[.:]*' ! -name 'last_*'"])).stdout

const scenarios: [title: string, conf: JsonObject, prepare: (it: Node) => Promise<void>][] = [
  ['on a fresh host', routed, async () => {}],
  [
    'with a bridge that is down and has an address in the way',
    { ...routed, forceAddress: true, hairpinMode: false, promiscMode: true },
    async ({ host }) => {
      await host.ip('link', 'add', 'cni0', 'address', '02:00:00:00:00:01', 'up', 'type', 'bridge')
      await host.ip('link', 'set', 'cni0', 'down')
      await host.ip('address', 'add', '10.33.0.1/16', 'dev', 'cni0')
    },
  ],
  [
    'beside a container of the same network',
    routed,
    async (it) => {
      const neighbour = await it.host.container('neighbour')
      await it.add(routed, { container: neighbour, containerId: 'neighbour' })
    },
  ],
]

describe.each(scenarios)('%s', (_title, conf, prepare) => {
  test.each<Fault>(['unsent', 'unanswered', 'refused'])('%s', async (fault) => {
    const it = await node()
    const container = await it.host.container()
    await it.host.must('sh', ['-c', 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'])
    await prepare(it)
    await settled(it.host)
    const look = async () => ({
      host: await factsOf(it.host),
      container: await factsOf(container),
      rules: await rulesOf(it),
      files: await filesOf(it),
    })
    const before = await look()
    let number = 1
    for (; ; number++) {
      const faulty = new FaultyTransport(fault, number)
      faulty.install()
      const error = await it.add(conf, { container }).then(
        () => undefined,
        (failure: Error) => failure,
      )
      faulty.uninstall()
      if (!faulty.struck) {
        expect(error).toBeUndefined()
        await it.del(conf, { container })
        break
      }
      expect(error?.message, `${fault} ${number}`).toContain('ENOMEM')
      expect(error?.message, `${fault} ${number}`).not.toContain('could not be undone')
      expect(await look(), `${fault} ${number}: ${error?.message}`).toEqual(before)
    }
    // One exchange looks, one makes the pair, one configures, one waits for the port; rules come on top.
    expect(number).toBeGreaterThan(8)
  })
})
