import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { link, Netns } from '../../../netlink/index.ts'
import { space } from '../../support/space.ts'
import { all, place } from './open.ts'

const own = (name: string) => readFileSync(`/proc/sys/${name}`, 'latin1').trim()

describe('sysctls of a namespace', () => {
  it('are its own, and not those of the program', async () => {
    const { space: there, netns, conn } = await place()
    await all(conn, link.add({ name: 'ifb7', kind: 'ifb' }))
    const writes = [
      { name: 'net/ipv4/ip_default_ttl', value: '33' },
      { name: 'net/ipv4/conf/default/arp_notify', value: '1' },
      { name: 'net/ipv4/conf/lo/arp_announce', value: '2' },
      { name: 'net/ipv4/conf/ifb7/proxy_arp', value: '1' },
      { name: 'net/ipv6/conf/default/hop_limit', value: '77' },
      { name: 'net/ipv6/conf/lo/disable_ipv6', value: '1' },
      { name: 'net/core/somaxconn', value: '4097' },
    ] as const
    const before = writes.map(({ name }) => (name.includes('ifb7') ? '' : own(name)))
    const fresh = await Promise.all(writes.map(({ name }) => there.sysctl(name)))
    expect(netns.writeSysctls(writes)).toEqual(fresh)
    for (const [i, { name, value }] of writes.entries()) {
      expect([name, await there.sysctl(name)]).toEqual([name, value])
      expect([name, netns.readSysctl(name)]).toEqual([name, value])
      if (!name.includes('ifb7')) expect([name, own(name)]).toEqual([name, before[i]])
    }
  })

  it('are found without a connection, and of interfaces that come later', async () => {
    const there = await space()
    const netns = Netns.open(there.path)
    try {
      expect(netns.readSysctl('net/ipv6/conf/lo/hop_limit')).toBe('64')
      await there.ip('link', 'add', 'late0', 'type', 'ifb')
      expect(netns.writeSysctls([{ name: 'net/ipv4/conf/late0/arp_notify', value: '1' }])).toEqual(['0'])
      expect(await there.sysctl('net/ipv4/conf/late0/arp_notify')).toBe('1')
      await there.ip('link', 'del', 'late0')
      expect(() => netns.readSysctl('net/ipv4/conf/late0/arp_notify')).toThrow(/ENOENT/)
    } finally {
      netns.close()
    }
  })

  it('leave nothing in the kernel, however often they are asked for', async () => {
    const { netns } = await place()
    const dentries = () => Number(readFileSync('/proc/sys/fs/dentry-state', 'latin1').split('\t')[0])
    const before = dentries()
    const reads = 20_000
    for (let i = 0; i < reads; i++) netns.readSysctl('net/ipv6/conf/lo/accept_dad')
    // Others are at work, too. Looked at from outside of the namespace, each would leave one or more.
    expect(dentries() - before).toBeLessThan(reads / 2)
  })

  it('fail one by one, and never leave the place they belong to', async () => {
    const { netns } = await place()
    const [missing, bad, good] = netns.writeSysctls([
      { name: 'net/ipv4/conf/nonesuch/arp_notify', value: '1' },
      { name: 'net/ipv4/ip_default_ttl', value: 'x' },
      { name: 'net/ipv4/ip_default_ttl', value: '33' },
    ])
    expect(missing).toMatchObject({ code: 'ENOENT' })
    expect(bad).toMatchObject({ code: 'EINVAL' })
    expect(good).toBe('64')
    for (const name of [
      'kernel/hostname',
      'net',
      'net/',
      'net/../kernel/hostname',
      'net/./ipv4',
      'net//ipv4',
      '/net/a',
      'net/a\0',
    ])
      expect(() => netns.readSysctl(name)).toThrow(RangeError)
  })
})

describe('namespaces', () => {
  it('are the same by what they are, not by how they were opened', async () => {
    const there = await space()
    const [a, b, home] = [Netns.open(there.path), Netns.open(there.path), Netns.current()]
    try {
      expect(a.equals(b)).toBe(true)
      expect(a.equals(home)).toBe(false)
      expect(home.equals(Netns.current())).toBe(true)
    } finally {
      a.close()
      b.close()
    }
  })
})
