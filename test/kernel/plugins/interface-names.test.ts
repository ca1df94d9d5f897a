/** Names that no interface can have: refused before anything is done, but not by the verb that cleans up. */
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../cni/types.ts'
import { classic, errorOf, links, node } from './node.ts'

// eth%d is whichever name of that kind is free; to the kernel the last byte of à is white space.
const names = ['eth%d', 'à'] as const

const confs: readonly JsonObject[] = [
  { ...classic, type: 'bridge', macspoofchk: true },
  { type: 'ptp', ipMasq: true },
  { type: 'macvlan', master: 'eth0' },
  { type: 'vlan', master: 'eth0', vlanId: 7 },
  { type: 'tap' },
  { type: 'dummy' },
  { type: 'tuning' },
  { type: 'bandwidth' },
  { type: 'portmap' },
  { type: 'sbr' },
  { type: 'vrf', vrfname: 'blue' },
]

describe.each(names)('CNI_IFNAME %s', (ifName) => {
  test.each(confs)('ADD and CHECK of $type: refused', async (conf) => {
    const it = await node()
    const container = await it.host.container('blue')
    for (const verb of ['ADD', 'CHECK'] as const) {
      const { code, msg } = await errorOf(it.call(verb, conf, { container, ifName }))
      expect({ code, msg }).toEqual({ code: 4, msg: 'interface name is none that an interface can have' })
    }
    for (const space of [it.host, container])
      expect((await links(space)).map(({ ifname }) => ifname)).toEqual(['lo'])
  })

  test.each(confs)('DEL of $type: cleans up', async (conf) => {
    const it = await node()
    const container = await it.host.container('blue')
    const own = conf.type === 'tuning' ? { ...conf, dataDir: it.host.file('/var/lib/tuning') } : conf
    await it.del(own, { container, ifName })
    await it.del(own, { ifName })
  })

  test('DEL removes the reservation that another implementation has made', async () => {
    const it = await node()
    const folder = '/var/lib/cni/networks/net'
    const reserve = `mkdir -p ${folder} && printf 'cid-1\\r\\n%s' "$1" >${folder}/10.22.0.2`
    await it.host.must('sh', ['-c', reserve, 'sh', ifName])
    await it.del(classic, { ifName })
    expect((await it.host.must('ls', [folder])).split('\n')).not.toContain('10.22.0.2')
  })
})
