/** Every netlink exchange of an ADD fails once, in every way. */
import { expect, test } from 'vitest'
import { type Fault, FaultyTransport } from '../../kernel/faults/transport.ts'
import { wired } from '../../kernel/plugins/master.ts'
import { factsOf } from '../../kernel/plugins/node.ts'

const ipam = { type: 'static', addresses: [{ address: '10.9.0.11/24' }], routes: [{ dst: '0.0.0.0/0' }] }

test.each([{ type: 'ipvlan', mode: 'l3' }, { type: 'vlan', vlanId: 100 }, { type: 'dummy' }])(
  '$type: every exchange fails once, in every way',
  async (own) => {
    const { node } = await wired()
    const container = await node.host.container()
    const conf = { ...own, master: 'eth1', ipam }
    const look = async () => ({ host: await factsOf(node.host), container: await factsOf(container) })
    const before = await look()
    for (const fault of ['unsent', 'unanswered', 'refused'] satisfies Fault[]) {
      let number = 1
      for (; ; number++) {
        const faulty = new FaultyTransport(fault, number)
        faulty.install()
        const error = await node.add(conf, { container }).then(
          () => undefined,
          (failure: Error) => failure,
        )
        faulty.uninstall()
        if (!faulty.struck) {
          expect(error).toBeUndefined()
          await node.del(conf, { container })
          break
        }
        expect(error?.message, `${fault} ${number}`).toContain('ENOMEM')
        expect(error?.message, `${fault} ${number}`).not.toContain('could not be undone')
        expect(await look(), `${fault} ${number}: ${error?.message}`).toEqual(before)
      }
      expect(number).toBeGreaterThan(2)
    }
  },
)
