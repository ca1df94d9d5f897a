/** The firewall plugin's way to firewalld, on a real bus and with the real firewalld. */
import { beforeAll, expect, test } from 'vitest'
import { type Firewalld, firewalldOf } from '../../../plugins/firewall/firewalld.ts'
import { type FirewalldHost, firewalldHost } from './firewalld-host.ts'

let there: FirewalldHost

beforeAll(async () => {
  there = await firewalldHost()
  // A bus alone is no firewalld, and it is not asked to start one.
  expect(await firewalldOf({ socket: there.socket })).toBeNull()
  await there.startFirewalld()
})

const opened = async <T>(use: (firewalld: Firewalld) => Promise<T>): Promise<T> => {
  const firewalld = await firewalldOf({ socket: there.socket })
  if (!firewalld) throw new Error('firewalld was not found')
  try {
    return await use(firewalld)
  } finally {
    firewalld.close()
  }
}

test.each(['10.1.2.3/32', 'fd00:1::3/128'])('%s comes into a zone and out of it', (source) =>
  opened(async (firewalld) => {
    expect(await firewalld.querySource('trusted', source)).toBe(false)
    expect(await firewalld.zoneOfSource(source)).toBeNull()
    expect(await firewalld.addSource('trusted', source)).toBe(true)
    expect(await there.firewallCmd('--get-zone-of-source', source)).toBe('trusted')
    expect(await firewalld.addSource('trusted', source)).toBe(false)
    expect(await firewalld.querySource('trusted', source)).toBe(true)
    expect(await firewalld.querySource('public', source)).toBe(false)
    expect(await firewalld.zoneOfSource(source)).toBe('trusted')
    // Another zone's: neither taken over nor taken away.
    await expect(firewalld.addSource('public', source)).rejects.toMatchObject({
      msg: `firewalld: ${source} is a source of zone "trusted" already, not of "public"`,
    })
    expect(await firewalld.removeSource('public', source)).toBe(false)
    expect(await firewalld.removeSource('trusted', source)).toBe(true)
    expect(await firewalld.removeSource('trusted', source)).toBe(false)
  }),
)

test('a reload forgets a source: it is in the runtime configuration only', () =>
  opened(async (firewalld) => {
    await firewalld.addSource('trusted', '10.1.2.4/32')
    await there.firewallCmd('--reload')
    expect(await firewalld.querySource('trusted', '10.1.2.4/32')).toBe(false)
  }))

test('what firewalld refuses', () =>
  opened(async (firewalld) => {
    await expect(firewalld.addSource('nozone', '10.1.2.5/32')).rejects.toMatchObject({
      code: 7,
      msg: 'firewalld has no zone "nozone"',
    })
    await expect(firewalld.querySource('nozone', '10.1.2.5/32')).rejects.toMatchObject({ code: 7 })
    expect(await firewalld.removeSource('nozone', '10.1.2.5/32')).toBe(false)
    await expect(firewalld.addSource('trusted', '10.1.2.300/32')).rejects.toMatchObject({
      code: 999,
      msg: 'firewalld: add source 10.1.2.300/32 to zone "trusted": INVALID_ADDR: 10.1.2.300/32',
    })
    await there.firewallCmd('--panic-on')
    await expect(firewalld.addSource('trusted', '10.1.2.5/32')).rejects.toMatchObject({
      code: 999,
      details: 'firewalld is in panic mode: firewall-cmd --panic-off',
    })
    await there.firewallCmd('--panic-off')
  }))

test('many at once, through connections of their own', async () => {
  const sources = Array.from({ length: 10 }, (_, i) => `10.1.3.${i}/32`)
  const added = await Promise.all(
    sources.map((source) => opened((firewalld) => firewalld.addSource('trusted', source))),
  )
  expect(added).toEqual(sources.map(() => true))
  expect((await there.firewallCmd('--zone=trusted', '--list-sources')).split(' ').sort()).toEqual(sources)
  await Promise.all(sources.map((source) => opened((firewalld) => firewalld.removeSource('trusted', source))))
  await opened(async (firewalld) => {
    for (const source of sources) expect(await firewalld.zoneOfSource(source)).toBeNull()
  })
})

test('a firewalld that stops in the midst is told', () =>
  opened(async (firewalld) => {
    await there.stopFirewalld()
    await expect(firewalld.querySource('trusted', '10.1.2.6/32')).rejects.toMatchObject({
      details: 'firewalld has stopped meanwhile',
    })
    expect(await firewalldOf({ socket: there.socket })).toBeNull()
    await there.startFirewalld()
    // The same connection finds the next one.
    expect(await firewalld.addSource('trusted', '10.1.2.6/32')).toBe(true)
    expect(await firewalld.removeSource('trusted', '10.1.2.6/32')).toBe(true)
  }))
