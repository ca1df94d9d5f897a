import { describe, expect, it } from 'vitest'
import { rule } from '../../../netlink/index.ts'
import { all, place } from './open.ts'

describe('rules', () => {
  it('are made with everything that can be said of them, and deleted', async () => {
    const { space, conn } = await place()
    const options: rule.RuleOptions = {
      invert: true,
      from: '10.1.0.0/16',
      to: '10.2.0.0/16',
      inputName: 'lo',
      mark: 0x10,
      mask: 0xff,
      ipProtocol: 6,
      sourcePorts: { start: 10, end: 20 },
      destinationPorts: { start: 80, end: 80 },
      uids: { start: 100, end: 200 },
      priority: 77,
      table: 1000,
      suppressPrefixLength: 0,
      protocol: 'static',
    }
    await all(
      conn,
      rule.add(options),
      rule.add({ from: '2001:db8::/32', priority: 5, goto: 32766 }),
      rule.add({ priority: 6, action: 'prohibit', tos: 0x10, outputName: 'lo' }),
      rule.add({ priority: 1000, l3mdev: true }),
      rule.add({ priority: 2000, table: 7 }),
    )
    const theirs = await space.ipJson('-d', 'rule', 'show')
    expect(theirs).toMatchObject([
      { priority: 0, table: 'local' },
      { priority: 6, action: 'prohibit', tos: '0x10', oif: 'lo' },
      {
        priority: 77,
        not: null,
        src: '10.1.0.0',
        srclen: 16,
        dst: '10.2.0.0',
        dstlen: 16,
        iif: 'lo',
        fwmark: '0x10',
        fwmask: '0xff',
        ipproto: 'tcp',
        sport_start: 10,
        sport_end: 20,
        dport: 80,
        uid_start: 100,
        uid_end: 200,
        table: '1000',
        suppress_prefixlen: 0,
        protocol: 'static',
      },
      { priority: 1000, l3mdev: null },
      { priority: 2000, src: 'all', table: '7' },
      { priority: 32766, table: 'main' },
      { priority: 32767, table: 'default' },
    ])
    const ours = await conn.run(rule.list({ family: 4 }))
    expect(ours).toHaveLength(theirs.length)
    expect(ours.find(({ priority }) => priority === 77)).toMatchObject({
      ...options,
      action: 'table',
      unknown: [],
    })
    expect(ours.find(({ priority }) => priority === 1000)).toMatchObject({ l3mdev: true, action: 'table' })
    expect(await conn.run(rule.list({ table: 1000 }))).toMatchObject([{ priority: 77 }])
    expect(await conn.run(rule.list({ family: 6 }))).toMatchObject([
      { priority: 0 },
      { priority: 5, action: 'goto', goto: 32766, from: '2001:db8::/32' },
      { priority: 32766 },
    ])
    await expect(conn.run(rule.add(options))).rejects.toMatchObject({ code: 'EEXIST' })
    // What was listed can be deleted by what it says.
    await all(conn, rule.delete({ priority: 2000 }), rule.delete({ from: '10.1.0.0/16', table: 1000 }))
    for (const one of ours.filter(({ priority }) => priority === 6 || priority === 1000))
      await all(conn, rule.delete(one))
    await all(conn, rule.delete({ family: 6, priority: 5 }))
    await expect(conn.run(rule.delete({ priority: 77 }))).rejects.toMatchObject({ code: 'ENOENT' })
    expect((await conn.run(rule.list())).map(({ family, priority }) => `${family} ${priority}`)).toEqual([
      '4 0',
      '4 32766',
      '4 32767',
      '6 0',
      '6 32766',
    ])
  })
})
