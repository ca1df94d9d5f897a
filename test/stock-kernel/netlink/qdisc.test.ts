/** Traffic control of a stock kernel: kinds that not every kernel has, modules that are loaded when they are asked for. */
import { expect, test } from 'vitest'
import { filter, link, qdisc } from '../../../netlink/index.ts'
import { all, place } from '../../kernel/netlink/open.ts'
import { limits, remains, wired } from '../../kernel/plugins/bandwidth.ts'

test('matchall, with a copy for another link; a qdisc without options', async () => {
  const { space, conn } = await place()
  await all(
    conn,
    link.add({
      kind: 'veth',
      name: 'veth0',
      index: 20,
      up: true,
      data: { peer: { name: 'eth0', index: 21 } },
    }),
    link.add({ kind: 'ifb', name: 'ifb7', index: 30, up: true }),
    qdisc.add({ index: 30, parent: 'root', handle: '1:', kind: 'fq_codel' }),
    qdisc.add({ index: 20, parent: 'ingress', handle: 'ffff:', kind: 'clsact' }),
    filter.add({
      index: 20,
      parent: 'egress',
      priority: 7,
      protocol: 'ip',
      kind: 'matchall',
      data: { act: [{ kind: 'mirred', data: { to: 'egressMirror', index: 30 } }] },
    }),
  )
  expect(await space.must('tc', ['qdisc', 'show', 'dev', 'ifb7'])).toContain('qdisc fq_codel 1: root')
  expect(await space.must('tc', ['filter', 'show', 'dev', 'veth0', 'egress'])).toMatch(
    /protocol ip pref 7 matchall[\s\S]*mirred \(Egress Mirror to device ifb7\) pipe/,
  )
  expect(await conn.run(filter.list({ index: 20, parent: 'egress' }))).toContainEqual(
    expect.objectContaining({
      priority: 7,
      kind: 'matchall',
      data: expect.objectContaining({
        act: [{ kind: 'mirred', data: { to: 'egressMirror', index: 30, verdict: 'pipe' } }],
      }),
    }),
  )
})

test('limits of bandwidth, all and by subnets', async () => {
  const { it, container, prevResult, veth } = await wired()
  await it.call('STATUS', { ...limits, shapedSubnets: ['10.0.0.0/8'] })
  for (const more of [{}, { unshapedSubnets: ['10.77.0.0/16', 'fd00::/8'] }]) {
    const conf = { ...limits, ...more }
    const result = await it.add(conf, { container, prevResult })
    await it.check(conf, { container, prevResult: result })
    expect(await it.add(conf, { container, prevResult })).toEqual(result)
    await it.check(conf, { container, prevResult: result })
    expect(await container.ping('10.9.0.1')).toBe(true)
    expect(await remains(it.host)).toContain(`ingress of ${veth}`)
    await it.del(conf, { container })
    expect(await remains(it.host)).toEqual([])
    expect(await container.ping('10.9.0.1')).toBe(true)
  }
})
