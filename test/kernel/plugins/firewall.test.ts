/** The firewall plugin over netlink: its rules as iptables sees them, every verb, owners. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { filterRules, firewallConf, naming, resultWith, rulesOf } from './firewall.ts'
import { errorOf, type Node, node, unheard } from './node.ts'

const conf = firewallConf()
const one = resultWith(['10.1.2.3/24', 'fd00:1::3/64'])

const shared = [
  '-N CNI-ADMIN',
  '-N CNI-FORWARD',
  '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD',
  '-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN',
]
const permits = (address: string): string[] => [
  `-A CNI-FORWARD -d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
  `-A CNI-FORWARD -s ${address} -j ACCEPT`,
]

describe('ADD', () => {
  test('writes what iptables would, passes the result on, and is done when it is done again', async () => {
    const it = await node()
    const container = await it.host.container()
    for (let times = 0; times < 2; times++) {
      expect(await it.add(conf, { container, prevResult: one })).toEqual(one)
      expect(await filterRules(it.host)).toEqual([...shared, ...permits('10.1.2.3/32')])
      expect(await filterRules(it.host, 'ip6tables')).toEqual([...shared, ...permits('fd00:1::3/128')])
    }
    // Nothing in it that iptables does not understand.
    const saved = await it.host.must('iptables-save', [])
    await it.host.must('iptables-restore', ['--test'], { input: saved })
    await it.check(conf, { container, prevResult: one })
  })
})
