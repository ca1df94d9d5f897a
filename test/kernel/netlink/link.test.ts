import { describe, expect, it } from 'vitest'
import { link, waitForLink } from '../../../netlink/index.ts'
import { all, ipLink, place } from './open.ts'

/** Some of what `ip -j -d -s link show` says. */
interface Shown {
  readonly ifname: string
  readonly flags: readonly string[]
  readonly stats64: { readonly rx: { readonly bytes: number } }
}

describe('links', () => {
  it.each(['br0', 'port0', 'tap0', 'lo'])('in brief say of %s what they say in full', async (name) => {
    const { conn } = await place({ ipv6: true })
    await all(
      conn,
      link.add({ name: 'br0', kind: 'bridge', up: true }),
      link.add({ name: 'port0', index: 300, kind: 'veth', data: { peer: { name: 'tap0' } } }),
      link.set(300, { alias: 'whose', up: true }),
      link.addAltNames('port0', ['another-name']),
    )
    await conn.run(link.set(300, { master: (await conn.run(link.get('br0'))).index }))
    const full = await conn.run(link.get(name))
    const brief = await conn.run(link.getBrief(name))
    const { index, altNames, type, flags, up, operState, carrier, mtu, address, master, kind, alias } = full
    const told = {
      index,
      name,
      altNames,
      type,
      flags,
      up,
      operState,
      carrier,
      mtu,
      address,
      master,
      kind,
      alias,
    }
    expect(brief).toMatchObject({ ...told, link: full.link, linkNetnsId: full.linkNetnsId })
    expect(brief.afSpec?.inet6?.conf?.acceptRa).toBe(full.afSpec?.inet6?.conf?.acceptRa)
    expect(brief.afSpec?.inet6?.conf?.acceptRa).toBeTypeOf('number')
    if (full.kind !== 'bridge') return
    const { vlanFiltering, vlanDefaultPvid } = full.data ?? {}
    expect('data' in brief && brief.data).toEqual({ vlanFiltering, vlanDefaultPvid })
  })

  it('are made in one datagram, a pair across two namespaces', async () => {
    const host = await place()
    const container = await place()
    await all(
      host.conn,
      link.add({ name: 'br0', index: 100, kind: 'bridge', address: '02:00:00:00:00:64', up: true }),
      link.add({
        name: 'veth0',
        index: 200,
        mtu: 1400,
        txQueueLength: 0,
        group: 9,
        master: 100,
        up: true,
        kind: 'veth',
        data: {
          peer: {
            name: 'eth0',
            index: 300,
            mtu: 1300,
            address: '02:00:00:00:01:2c',
            netns: container.netns,
          },
        },
      }),
      link.set(200, { alias: 'to the container', afSpec: { inet: { conf: { arpNotify: 1, rpFilter: 2 } } } }),
    )
    const shown = await ipLink(host.space, 'veth0')
    // ip leaves a queue of 0 out.
    expect(shown).not.toHaveProperty('txqlen')
    expect(shown).toMatchObject({
      ifindex: 200,
      mtu: 1400,
      group: '9',
      master: 'br0',
      ifalias: 'to the container',
      link_index: 300,
      linkinfo: { info_kind: 'veth', info_slave_kind: 'bridge' },
    })
    expect(await host.space.sysctl('net/ipv4/conf/veth0/arp_notify')).toBe('1')
    expect(await host.space.sysctl('net/ipv4/conf/veth0/rp_filter')).toBe('2')
    expect(await ipLink(container.space, 'eth0')).toMatchObject({
      ifindex: 300,
      mtu: 1300,
      address: '02:00:00:00:01:2c',
      txqlen: 1000,
      operstate: 'DOWN',
    })
    const [veth, eth] = [await host.conn.run(link.get('veth0')), await container.conn.run(link.get(300))]
    expect(veth).toMatchObject({ kind: 'veth', link: 300, master: 100, portKind: 'bridge' })
    expect(veth.linkNetnsId).toBeTypeOf('number')
    expect(eth).toMatchObject({ name: 'eth0', link: 200, up: false, address: '02:00:00:00:01:2c' })
  })

  it('are refused with the attribute that is wrong', async () => {
    const { conn } = await place()
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }))
    await expect(conn.run(link.add({ name: 'ifb7', kind: 'ifb' }))).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(conn.run(link.add({ name: 'x', kind: 'nonesuch' }))).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
      op: 'add link x (nonesuch)',
    })
    await expect(conn.run(link.get('x'))).rejects.toMatchObject({ code: 'ENODEV' })
    await expect(conn.run(link.set(12345, { up: true }))).rejects.toMatchObject({ code: 'ENODEV' })
    await expect(conn.run(link.set('ifb7', { mtu: 4_000_000_000 }))).rejects.toMatchObject({ code: 'EINVAL' })
    // A peer can't be born up, and nothing may be left of the pair.
    await expect(
      conn.run(link.add({ name: 'a', kind: 'macvlan', link: 999, data: { mode: 'bridge' } })),
    ).rejects.toMatchObject({ code: 'ENODEV' })
    expect((await conn.run(link.list())).map(({ name }) => name)).toEqual(['lo', 'ifb7'])
  })

  it('are changed', async () => {
    const { space, conn, netns } = await place()
    const other = await place()
    await all(
      conn,
      link.add({ name: 'veth0', index: 20, kind: 'veth', data: { peer: { name: 'veth1', index: 21 } } }),
      link.add({ name: 'br0', index: 10, kind: 'bridge' }),
      link.set('veth1', { up: true }),
      link.set(20, {
        name: 'lan0',
        mtu: 1300,
        address: '02:00:00:00:00:14',
        master: 10,
        promisc: true,
        allMulti: true,
        multicast: false,
        arp: false,
        alias: 'uplink',
        group: 7,
        txQueueLength: 55,
      }),
      link.set('lan0', { up: true }),
    )
    expect(await ipLink(space, 'lan0')).toMatchObject({
      ifindex: 20,
      mtu: 1300,
      address: '02:00:00:00:00:14',
      master: 'br0',
      ifalias: 'uplink',
      group: '7',
      txqlen: 55,
      flags: expect.arrayContaining(['UP', 'PROMISC', 'ALLMULTI', 'NOARP']),
    })
    await all(
      conn,
      link.set(20, { up: false, promisc: false, arp: true, multicast: true, master: null, alias: '' }),
    )
    const changed = await ipLink(space, 'lan0')
    expect(changed).not.toHaveProperty('master')
    expect(changed).not.toHaveProperty('ifalias')
    expect(changed.flags).toEqual(expect.arrayContaining(['BROADCAST', 'MULTICAST', 'ALLMULTI']))
    expect(changed.flags).not.toContain('UP')
    // To another namespace, under another name and index, and back.
    await all(conn, link.set(20, { netns: other.netns, name: 'eth0', newIndex: 77 }))
    expect(await ipLink(other.space, 'eth0')).toMatchObject({ ifindex: 77, mtu: 1300 })
    await all(other.conn, link.set(77, { netns, name: 'back0' }))
    expect(await ipLink(space, 'back0')).toMatchObject({ address: '02:00:00:00:00:14' })
  })

  it('go to the namespace of the program itself by a process in it', async () => {
    // Only made ready here: the machine's own namespace is none of a test's business.
    const { conn } = await place()
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }))
    await expect(conn.run(link.set('ifb7', { netns: { fd: 0, close: () => {} } }))).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  it('have settings of their kind and, as ports, of their master', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({
        name: 'br0',
        index: 10,
        kind: 'bridge',
        data: { ageingTime: 12300, priority: 4096, stpState: 1, mcastSnooping: false, groupFwdMask: 16 },
      }),
      link.add({ name: 'veth0', index: 20, kind: 'veth', master: 10, data: { peer: { name: 'veth1' } } }),
      link.setBridgePort(20, {
        hairpin: true,
        isolated: true,
        learning: false,
        unicastFlood: false,
        mcastFlood: false,
        bcastFlood: false,
        guard: true,
        protect: true,
        fastLeave: true,
        cost: 7,
        priority: 9,
        neighSuppress: true,
        groupFwdMask: 32,
      }),
    )
    expect(await ipLink(space, 'br0')).toMatchObject({
      linkinfo: {
        info_data: {
          ageing_time: 12300,
          priority: 4096,
          stp_state: 1,
          mcast_snooping: 0,
          group_fwd_mask: '0x10',
        },
      },
    })
    expect(await ipLink(space, 'veth0')).toMatchObject({
      linkinfo: {
        info_slave_data: {
          hairpin: true,
          isolated: true,
          learning: false,
          flood: false,
          mcast_flood: false,
          bcast_flood: false,
          guard: true,
          root_block: true,
          fastleave: true,
          cost: 7,
          priority: 9,
          neigh_suppress: true,
          group_fwd_mask: '0x20',
        },
      },
    })
    const port = await conn.run(link.get('veth0'))
    expect(port.portKind === 'bridge' && port.portData).toMatchObject({
      hairpin: true,
      isolated: true,
      cost: 7,
    })
    await all(
      conn,
      link.setKind('br0', { kind: 'bridge', data: { ageingTime: 30000, multiBoolopt: { noLlLearn: true } } }),
      link.setBridgePort('veth0', { hairpin: false }),
    )
    const bridge = await conn.run(link.get('br0'))
    expect(bridge.kind === 'bridge' && bridge.data).toMatchObject({
      ageingTime: 30000,
      priority: 4096,
      multiBoolopt: { noLlLearn: true },
    })
    const after = await conn.run(link.get('veth0'))
    expect(after.portKind === 'bridge' && after.portData).toMatchObject({ hairpin: false, isolated: true })
    await expect(conn.run(link.setBridgePort('br0', { hairpin: true }))).rejects.toMatchObject({
      code: 'EOPNOTSUPP',
    })
    await expect(
      conn.run(link.setKind('veth0', { kind: 'bridge', data: { ageingTime: 1 } })),
    ).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  })

  it('of the kinds that this kernel has, as ip shows them', async () => {
    const { space, conn } = await place()
    await all(
      conn,
      link.add({ name: 'veth0', index: 20, up: true, kind: 'veth', data: { peer: { name: 'veth1' } } }),
      link.add({ name: 'mv0', link: 20, kind: 'macvlan', data: { mode: 'private', bcQueueLen: 1234 } }),
      link.add({ name: 'mvt0', link: 20, kind: 'macvtap', data: { mode: 'bridge' } }),
      link.add({
        name: 'vx0',
        kind: 'vxlan',
        data: { id: 42, group: '10.0.0.2', local: '10.0.0.1', port: 4789, ttl: 64, learning: false },
      }),
      link.add({ name: 'ifb7', kind: 'ifb', numTxQueues: 2, numRxQueues: 2 }),
    )
    expect(await ipLink(space, 'mv0')).toMatchObject({
      link: 'veth0',
      linkinfo: { info_kind: 'macvlan', info_data: { mode: 'private', bcqueuelen: 1234 } },
    })
    expect(await ipLink(space, 'mvt0')).toMatchObject({
      linkinfo: { info_kind: 'macvtap', info_data: { mode: 'bridge' } },
    })
    expect(await ipLink(space, 'vx0')).toMatchObject({
      linkinfo: {
        info_kind: 'vxlan',
        info_data: { id: 42, remote: '10.0.0.2', local: '10.0.0.1', port: 4789, ttl: 64, learning: false },
      },
    })
    expect(await ipLink(space, 'ifb7')).toMatchObject({ linkinfo: { info_kind: 'ifb' }, num_tx_queues: 2 })
    await space.ip('tuntap', 'add', 'dev', 'tap0', 'mode', 'tap', 'user', '1000')
    const found = await conn.run(link.list())
    expect(found.map(({ name, kind }) => [name, kind])).toEqual(
      expect.arrayContaining([
        ['lo', undefined],
        ['mv0', 'macvlan'],
        ['mvt0', 'macvtap'],
        ['vx0', 'vxlan'],
        ['ifb7', 'ifb'],
        ['tap0', 'tun'],
      ]),
    )
    const data = (name: string) => found.find((one) => one.name === name)?.data
    expect(data('mv0')).toMatchObject({ mode: 'private', bcQueueLen: 1234 })
    expect(data('vx0')).toMatchObject({ id: 42, group: '10.0.0.2', port: 4789, learning: false })
    expect(data('tap0')).toMatchObject({ type: 'tap', owner: 1000, persist: true })
  })

  it('are listed by kind, master and state', async () => {
    const { conn } = await place()
    await all(
      conn,
      link.add({ name: 'br0', index: 10, kind: 'bridge', up: true }),
      link.add({ name: 'a', master: 10, kind: 'veth', data: { peer: { name: 'b' } } }),
      link.add({ name: 'ifb7', kind: 'ifb' }),
    )
    const names = async (options?: Parameters<typeof link.list>[0]) =>
      (await conn.run(link.list(options))).map(({ name }) => name).sort()
    expect(await names()).toEqual(['a', 'b', 'br0', 'ifb7', 'lo'])
    expect(await names({ kind: 'veth' })).toEqual(['a', 'b'])
    expect(await names({ kind: 'nonesuch' })).toEqual([])
    expect(await names({ master: 10 })).toEqual(['a'])
    expect(await names({ kind: 'ifb', master: 10 })).toEqual([])
    expect(await names({ up: true })).toEqual(['br0'])
    expect(await names({ kind: 'veth', up: true })).toEqual([])
  })

  it('are listed by their names, those of a kind', async () => {
    const { conn } = await place()
    await all(
      conn,
      link.add({ name: 'br0', index: 10, kind: 'bridge' }),
      link.add({ name: 'a', index: 11, kind: 'veth', data: { peer: { name: 'b', index: 12 } } }),
      link.set('b', { alias: 'ünder some name' }),
    )
    expect([...(await conn.run(link.listNames('veth')))].sort((a, b) => a.index - b.index)).toEqual([
      { index: 11, name: 'a', alias: undefined },
      { index: 12, name: 'b', alias: 'ünder some name' },
    ])
    expect(await conn.run(link.listNames('bridge'))).toMatchObject([{ name: 'br0' }])
    expect(await conn.run(link.listNames('nothing-of-this-kind'))).toEqual([])
  })

  it('tell everything that ip -d tells', async () => {
    const { space, conn, netns } = await place({ ipv6: true })
    await all(conn, link.add({ name: 'veth0', up: true, kind: 'veth', data: { peer: { name: 'veth1' } } }))
    await waitForLink({ netns, connection: conn }, 'veth0', (veth) => veth?.operState === 'lowerlayerdown', {
      timeout: 5000,
    })
    for (const theirs of await space.ipJson<Shown>('-d', '-s', 'link', 'show')) {
      const ours = await conn.run(link.get(theirs.ifname, { statistics: true }))
      expect({
        ifindex: ours.index,
        ifname: ours.name,
        mtu: ours.mtu,
        qdisc: ours.qdisc,
        operstate: String(ours.operState).toUpperCase(),
        linkmode: String(ours.linkMode).toUpperCase(),
        txqlen: ours.txQueueLength,
        link_type: ours.type,
        address: ours.address,
        broadcast: ours.broadcast,
        promiscuity: ours.promiscuity,
        min_mtu: ours.minMtu,
        max_mtu: ours.maxMtu,
        inet6_addr_gen_mode: ours.afSpec?.inet6?.addrGenMode,
        num_tx_queues: ours.numTxQueues,
        num_rx_queues: ours.numRxQueues,
        gso_max_size: ours.gsoMaxSize,
        gso_max_segs: ours.gsoMaxSegs,
      }).toEqual(
        Object.fromEntries(
          Object.entries(theirs).filter(
            ([key]) =>
              !['flags', 'group', 'linkinfo', 'stats64', 'link', 'allmulti'].includes(key) &&
              !/^(tso|gro|gso_ipv4)/.test(key),
          ),
        ),
      )
      const flags = theirs.flags.filter((flag) => flag !== 'NO-CARRIER' && flag !== 'M-DOWN')
      const ourFlags = Object.entries(ours.flags).flatMap(([name, set]) =>
        set && name !== 'running' ? [name.replaceAll(/([A-Z])/g, '_$1').toUpperCase()] : [],
      )
      expect(ourFlags.sort()).toEqual(flags.sort())
      expect(ours.statistics?.rxBytes).toBeGreaterThanOrEqual(BigInt(theirs.stats64.rx.bytes))
      expect(ours.unknown).toEqual([])
    }
  })

  it('have alternative names', async () => {
    const { space, conn } = await place()
    const long = 'a-name-that-is-longer-than-fifteen'
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }), link.addAltNames('ifb7', ['short', long]))
    expect(await ipLink(space, 'ifb7')).toMatchObject({ altnames: ['short', long] })
    expect((await conn.run(link.get(long))).name).toBe('ifb7')
    expect((await conn.run(link.get('short'))).altNames).toEqual(['short', long])
    await all(conn, link.deleteAltNames(long, ['short']), link.set(long, { up: true }))
    expect(await ipLink(space, 'ifb7')).toMatchObject({ altnames: [long], operstate: 'UNKNOWN' })
  })

  it('are deleted by index, name and group', async () => {
    const { conn } = await place()
    await all(
      conn,
      ...['a', 'b', 'c', 'd'].map((name) => link.add({ name, kind: 'ifb', group: name > 'b' ? 5 : 0 })),
      link.add({ name: 'e', index: 55, kind: 'ifb' }),
      link.delete('a'),
      link.delete(55),
      link.delete({ group: 5 }),
    )
    expect((await conn.run(link.list())).map(({ name }) => name)).toEqual(['lo', 'b'])
    await expect(conn.run(link.delete('a'))).rejects.toMatchObject({ code: 'ENODEV' })
    await expect(conn.run(link.delete({ group: 5 }))).rejects.toMatchObject({ code: 'ENODEV' })
    await expect(conn.run(link.delete('lo'))).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  })
})
