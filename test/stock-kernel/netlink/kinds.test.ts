/** Kinds of links, and VLANs of bridges, that need a kernel with everything: Debian's. */
import { describe, expect, it } from 'vitest'
import { bridgeVlan, link, route } from '../../../netlink/index.ts'
import { all, ipLink, place } from '../../kernel/netlink/open.ts'

describe('links', () => {
  it('of every kind, as ip shows them', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({
        name: 'veth0',
        index: 20,
        up: true,
        kind: 'veth',
        data: { peer: { name: 'veth1', index: 21 } },
      }),
      link.add({ name: 'dummy0', index: 30, group: 7, kind: 'dummy' }),
      link.add({
        name: 'veth0.100',
        index: 31,
        link: 20,
        kind: 'vlan',
        data: {
          id: 100,
          protocol: '802.1ad',
          flags: { reorderHdr: false, looseBinding: true },
          egressQos: [{ from: 1, to: 2 }],
          ingressQos: [{ from: 5, to: 6 }],
        },
      }),
      link.add({
        name: 'ipv0',
        index: 32,
        link: 21,
        kind: 'ipvlan',
        data: { mode: 'l3s', flags: { vepa: true } },
      }),
      link.add({ name: 'red', index: 33, kind: 'vrf', data: { table: 1000 } }),
      link.add({
        name: 'bond0',
        index: 34,
        kind: 'bond',
        data: {
          mode: 'active-backup',
          arpInterval: 100,
          arpIpTarget: ['10.0.0.1', '10.0.0.2'],
          xmitHashPolicy: 'layer3+4',
        },
      }),
      link.set(30, { master: 33 }),
    )
    const data = async (name: string) =>
      ((await ipLink(space, name)).linkinfo ?? {}) as Record<string, unknown>
    expect(await data('dummy0')).toMatchObject({
      info_kind: 'dummy',
      info_slave_kind: 'vrf',
      info_slave_data: { table: 1000 },
    })
    expect(await data('veth0.100')).toMatchObject({
      info_kind: 'vlan',
      info_data: {
        id: 100,
        protocol: '802.1ad',
        flags: ['LOOSE_BINDING'],
        egress_qos: [{ from: 1, to: 2 }],
        ingress_qos: [{ from: 5, to: 6 }],
      },
    })
    expect(await data('ipv0')).toMatchObject({ info_kind: 'ipvlan', info_data: { mode: 'l3s' } })
    expect(await data('red')).toMatchObject({ info_kind: 'vrf', info_data: { table: 1000 } })
    expect(await data('bond0')).toMatchObject({
      info_kind: 'bond',
      info_data: { mode: 'active-backup', arp_interval: 100, arp_ip_target: ['10.0.0.1', '10.0.0.2'] },
    })
    const ours = Object.fromEntries((await conn.run(link.list())).map((one) => [one.name, one]))
    expect(ours.dummy0).toMatchObject({
      kind: 'dummy',
      portKind: 'vrf',
      portData: { table: 1000 },
      master: 33,
    })
    expect(ours['veth0.100']).toMatchObject({
      kind: 'vlan',
      link: 20,
      data: { id: 100, protocol: '802.1ad' },
    })
    expect(ours.ipv0).toMatchObject({
      kind: 'ipvlan',
      data: { mode: 'l3s', flags: { vepa: true, private: false } },
    })
    expect(ours.red).toMatchObject({ kind: 'vrf', data: { table: 1000 } })
    expect(ours.bond0).toMatchObject({
      kind: 'bond',
      data: { mode: 'active-backup', arpIpTarget: ['10.0.0.1', '10.0.0.2'] },
    })
    for (const one of Object.values(ours)) expect(one.unknown).toEqual([])
    // Changed afterwards.
    await all(
      conn,
      link.setKind('ipv0', { kind: 'ipvlan', data: { mode: 'l2' } }),
      link.setKind(31, { kind: 'vlan', data: { flags: { reorderHdr: true } } }),
    )
    expect(await data('ipv0')).toMatchObject({ info_data: { mode: 'l2' } })
    expect(await data('veth0.100')).toMatchObject({
      info_data: { flags: expect.arrayContaining(['REORDER_HDR', 'LOOSE_BINDING']) },
    })
    // One VLAN, one link.
    await expect(
      conn.run(link.add({ name: 'again', link: 20, kind: 'vlan', data: { id: 100, protocol: '802.1ad' } })),
    ).rejects.toMatchObject({ code: 'EEXIST' })
  })

  it('take no family settings while they are made', async () => {
    const { conn } = await place()
    // What is documented at `link.add`: were it otherwise some day, it could be offered there.
    const request = link.add({ name: 'dummy0', kind: 'dummy' })
    await all(
      conn,
      request,
      link.set('dummy0', { alias: 'later', afSpec: { inet: { conf: { arpNotify: 1 } } } }),
    )
    const made = await conn.run(link.get('dummy0'))
    expect(made).toMatchObject({ alias: 'later', afSpec: { inet: { conf: { arpNotify: 1 } } } })
  })

  it('in a VRF have their routes in its table', async () => {
    const { conn } = await place()
    await all(
      conn,
      link.add({ name: 'red', index: 33, up: true, kind: 'vrf', data: { table: 1000 } }),
      link.add({ name: 'dummy0', index: 30, master: 33, up: true, kind: 'dummy' }),
      route.add({ dst: '10.5.0.0/16', index: 30, table: 1000 }),
    )
    expect(await conn.run(route.get('10.5.6.7', { index: 33 }))).toMatchObject({ table: 1000, index: 30 })
  })
})

describe('VLANs of a bridge', () => {
  it('are added and deleted in runs and listed as bridge shows them', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({ name: 'br0', index: 10, kind: 'bridge', data: { vlanFiltering: true, vlanDefaultPvid: 0 } }),
      link.add({ name: 'veth0', index: 20, master: 10, kind: 'veth', data: { peer: { name: 'veth1' } } }),
      bridgeVlan.add(20, [
        { vid: 5, pvid: true, untagged: true },
        { vid: 10, last: 20 },
        { vid: 100, last: 200, untagged: true },
      ]),
      bridgeVlan.add(
        10,
        [
          { vid: 5, untagged: true },
          { vid: 10, last: 12 },
        ],
        { self: true },
      ),
    )
    const theirs = async (name: string) => {
      const [found] = await space.bridgeJson<{
        vlans: { vlan: number; vlanEnd?: number; flags?: string[] }[]
      }>('-c', 'vlan', 'show', 'dev', name)
      return (found?.vlans ?? []).map(({ vlan, vlanEnd, flags = [] }) => ({
        vid: vlan,
        last: vlanEnd ?? vlan,
        pvid: flags.includes('PVID'),
        untagged: flags.includes('Egress Untagged'),
      }))
    }
    const ours = async (index: number) => (await conn.run(bridgeVlan.list({ index })))[0]?.vlans
    expect(await ours(20)).toEqual([
      { vid: 5, last: 5, pvid: true, untagged: true },
      { vid: 10, last: 20, pvid: false, untagged: false },
      { vid: 100, last: 200, pvid: false, untagged: true },
    ])
    // bridge prints one by one in JSON.
    const expanded = async (index: number) =>
      ((await ours(index)) ?? []).flatMap(({ vid, last, ...flags }) =>
        Array.from({ length: last - vid + 1 }, (_, i) => ({ vid: vid + i, last: vid + i, ...flags })),
      )
    expect(await theirs('veth0')).toEqual(await expanded(20))
    expect(await theirs('br0')).toEqual(await expanded(10))
    await all(conn, bridgeVlan.delete(20, [{ vid: 15 }, { vid: 100, last: 150 }, { vid: 4000 }]))
    expect(await ours(20)).toEqual([
      { vid: 5, last: 5, pvid: true, untagged: true },
      { vid: 10, last: 14, pvid: false, untagged: false },
      { vid: 16, last: 20, pvid: false, untagged: false },
      { vid: 151, last: 200, pvid: false, untagged: true },
    ])
    // Everything at once: what is listed can be taken away, and all 4094 put there.
    await all(
      conn,
      bridgeVlan.delete(20, (await ours(20)) ?? []),
      bridgeVlan.add(20, [{ vid: 1, last: 4094 }]),
    )
    expect(await ours(20)).toEqual([{ vid: 1, last: 4094, pvid: false, untagged: false }])
    await all(
      conn,
      bridgeVlan.delete(20, [{ vid: 1, last: 4094 }]),
      bridgeVlan.add(
        20,
        Array.from({ length: 4094 }, (_, i) => ({ vid: i + 1, untagged: i % 2 === 0 })),
      ),
    )
    expect(await ours(20)).toHaveLength(4094)
  })

  it('are refused with a reason', async () => {
    const { conn } = await place()
    await all(conn, link.add({ name: 'dummy0', index: 30, kind: 'dummy' }))
    await expect(conn.run(bridgeVlan.add(99, [{ vid: 5 }]))).rejects.toMatchObject({ code: 'ENODEV' })
    await expect(conn.run(bridgeVlan.add(30, [{ vid: 5 }]))).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    expect(await conn.run(bridgeVlan.list({ index: 30 }))).toEqual([])
  })

  it('are filtered only where the bridge is told so, also later', async () => {
    const { conn } = await place()
    await all(
      conn,
      link.add({ name: 'br0', index: 10, kind: 'bridge' }),
      link.setKind(10, { kind: 'bridge', data: { vlanFiltering: true, vlanProtocol: '802.1ad' } }),
    )
    const bridge = await conn.run(link.get(10))
    expect(bridge.kind === 'bridge' && bridge.data).toMatchObject({
      vlanFiltering: true,
      vlanProtocol: '802.1ad',
      vlanDefaultPvid: 1,
    })
  })
})
