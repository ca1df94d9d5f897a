import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished, test } from 'vitest'
import { type Entry, type EntryId, Journal } from '../../../../ipam/dhcp/journal.ts'
import type { Settings } from '../../../../ipam/dhcp/settings.ts'
import type { Lease4 } from '../../../../ipam/dhcp/v4/lease.ts'

/** What a journal knows of one lease. */
const readOf = (journal: Journal, id: EntryId): Entry | null =>
  journal
    .list()
    .find(
      (one) =>
        one.network === id.network &&
        one.containerId === id.containerId &&
        one.ifName === id.ifName &&
        one.version === id.version,
    ) ?? null

const settings: Settings = {
  clientId: '0041',
  duid: '0004',
  iaid: 7,
  broadcast: false,
  request: [121, 1],
  provide: [[12, '706f64']],
  arpProbe: true,
  priority: 0,
  fixedMtu: false,
  waitForRouter: true,
  rapidCommit: true,
}

const lease: Lease4 = {
  version: 4,
  address: '192.0.2.10',
  prefixLength: 24,
  server: '192.0.2.1',
  serverMac: '02:00:5e:00:53:fe',
  obtainedAt: 1000,
  renewAt: 2000,
  rebindAt: 3000,
  expiresAt: 4000,
  routers: ['192.0.2.1'],
  classlessRoutes: [{ dst: '10.0.0.0/8', router: '0.0.0.0' }],
  staticRoutes: [],
  dnsServers: ['192.0.2.53'],
  domainName: 'example.org',
  domainSearch: [],
  mtu: 1400,
}

const id = { network: 'net', containerId: 'c1', ifName: 'eth0', version: 4 } as const

const entry = (changes: Partial<Extract<Entry, { version: 4 }>> = {}): Entry => ({
  ...id,
  netns: '/run/netns/c1',
  netnsId: '4:1',
  index: 2,
  mac: '02:00:5e:00:53:01',
  settings,
  used: true,
  lease,
  offer: null,
  ...changes,
})

let folder: string
let journal: Journal

beforeEach(() => {
  const above = mkdtempSync(join(tmpdir(), 'linkwright-journal-'))
  onTestFinished(() => rmSync(above, { recursive: true, force: true }))
  folder = join(above, 'cni', 'dhcp.leases')
  journal = new Journal(folder)
})

const files = (): string[] => readdirSync(folder).sort()
const only = (): string => {
  const [one, ...others] = files()
  if (!one || others.length > 0) throw new Error(`there are ${files().join(', ')}`)
  return join(folder, one)
}
/** Changes what a file says. */
const change = (changes: Record<string, unknown>): void => {
  const path = only()
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...changes }))
}

describe('what is written', () => {
  it.each<[string, Entry]>([
    ['a lease', entry()],
    ['an offer that is about to be accepted', entry({ used: false, lease: null, offer: lease })],
    ['neither', entry({ used: false, lease: null })],
    ['a lease for ever', entry({ lease: { ...lease, renewAt: null, rebindAt: null, expiresAt: null } })],
    ['a lease that is not on the interface yet', entry({ applied: { ...lease, address: '192.0.2.9' } })],
    ['a lease where nothing is on the interface', entry({ applied: null })],
  ])('is read: %s', (_, written) => {
    journal.write(written)
    expect(journal.list()).toMatchObject([written])
    expect(readOf(journal, id)).toMatchObject(written)
    expect(new Journal(folder).list()).toMatchObject([written])
  })

  test('takes the place of what was there', () => {
    journal.write(entry({ lease: null }))
    journal.write(entry())
    expect(journal.list()).toMatchObject([entry()])
    expect(files()).toHaveLength(1)
  })

  test('is for root alone', () => {
    journal.write(entry())
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(statSync(only()).mode & 0o777).toBe(0o600)
  })

  test('is one file for each attachment', () => {
    const others = [
      entry(),
      entry({ network: 'net2' }),
      entry({ containerId: 'c2' }),
      entry({ ifName: 'eth1' }),
      // What would be one text if it were put together without a separator.
      entry({ network: 'ne', containerId: 'tc1' }),
    ]
    for (const one of others) journal.write(one)
    expect(journal.list()).toHaveLength(5)
    for (const one of others) expect(readOf(journal, one)).toMatchObject(one)
    journal.remove(id)
    expect(readOf(journal, id)).toBeNull()
    expect(journal.list()).toHaveLength(4)
  })

  test('has a name that no container id can lead elsewhere', () => {
    const odd = entry({ containerId: '../../../etc/passwd', network: 'a/b' })
    journal.write(odd)
    expect(readOf(journal, odd)).toMatchObject(odd)
    expect(files()).toEqual([expect.stringMatching(/^[0-9a-f]{40}\.json$/)])
  })
})

describe('a journal', () => {
  test('that does not exist is empty, and reading does not make it', () => {
    expect(journal.list()).toEqual([])
    expect(readOf(journal, id)).toBeNull()
    journal.remove(id)
    journal.tidy()
    expect(() => statSync(folder)).toThrow('ENOENT')
  })

  test('forgets what is removed, and twice is no error', () => {
    journal.write(entry())
    journal.remove(id)
    journal.remove(id)
    expect(files()).toEqual([])
  })

  it.each([
    ['of another running of the machine', { boot: 'another' }],
    ['of another format', { format: 2 }],
    ['of no version', { version: 5 }],
    ['whose lease lacks an address', { lease: { ...lease, address: undefined } }],
    ['whose lease has an address that is none', { lease: { ...lease, address: '192.0.2.300' } }],
    ['whose settings are a text', { settings: 'x' }],
  ])('does not know an entry %s', (_, changes) => {
    journal.write(entry())
    change(changes)
    expect(journal.list()).toEqual([])
    expect(readOf(journal, id)).toBeNull()
  })

  it.each(['', '{', 'null', '[]', '"text"', '{"format":1}', '\0\0\0\0'])(
    'does not know a file with %j in it, and its others all the same',
    (text) => {
      journal.write(entry())
      const path = only()
      journal.write(entry({ containerId: 'c2' }))
      writeFileSync(path, text)
      expect(journal.list()).toMatchObject([entry({ containerId: 'c2' })])
      expect(readOf(journal, id)).toBeNull()
      journal.write(entry())
      expect(readOf(journal, id)).toMatchObject(entry())
    },
  )

  test('has other files in its folder that are nothing to it', () => {
    journal.write(entry())
    writeFileSync(join(folder, 'lock'), '')
    writeFileSync(join(folder, 'x.json'), '{}')
    expect(journal.list()).toMatchObject([entry()])
    journal.tidy()
    expect(files()).toHaveLength(3)
  })

  test('does not believe a file under the name of another', () => {
    journal.write(entry())
    change({ containerId: 'c2' })
    expect(readOf(journal, id)).toBeNull()
  })
})

describe('a program killed between writing and renaming', () => {
  test('has changed nothing', () => {
    journal.write(entry())
    writeFileSync(`${only()}.new`, '{"format":1,"half')
    expect(journal.list()).toMatchObject([entry()])
    expect(readOf(journal, id)).toMatchObject(entry())
  })

  test('leaves what tidying takes away', () => {
    journal.write(entry())
    writeFileSync(`${only()}.new`, 'half')
    journal.tidy()
    expect(files()).toEqual([expect.stringMatching(/\.json$/)])
    expect(journal.list()).toMatchObject([entry()])
  })

  test('leaves what the next writing and removing take away', () => {
    journal.write(entry())
    const path = only()
    writeFileSync(`${path}.new`, 'half, and longer than what comes after it'.repeat(100))
    journal.write(entry({ lease: null }))
    expect(only()).toBe(path)
    expect(journal.list()).toMatchObject([entry({ lease: null })])
    writeFileSync(`${path}.new`, 'half')
    journal.remove(id)
    expect(files()).toEqual([])
  })
})

describe('a journal that can not be written', () => {
  test('is an error that names the place', () => {
    mkdirSync(join(folder, '..'), { recursive: true })
    writeFileSync(folder, '')
    expect(() => journal.write(entry())).toThrow(/dhcp\.leases/)
  })

  test('keeps what was there, and leaves no draft', () => {
    journal.write(entry())
    const path = only()
    mkdirSync(`${path}.new`)
    expect(() => journal.write(entry({ lease: null }))).toThrow(/directory/)
    rmSync(`${path}.new`, { recursive: true, force: true })
    expect(journal.list()).toMatchObject([entry()])
  })

  test('is empty when read', () => {
    mkdirSync(join(folder, '..'), { recursive: true })
    writeFileSync(folder, '')
    expect(journal.list()).toEqual([])
  })
})
